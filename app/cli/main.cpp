#include <malloc.h>

#include "app/cli/command.h"

int main(int argc, char** argv) {
  // A command is short: memory that it has had once it keeps, rather than have the kernel clear pages again and again.
  mallopt(M_MMAP_THRESHOLD, 1 << 30);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
  mallopt(M_TOP_PAD, 8 << 20);
  return penstock::run_command_line(argc, argv);
}
