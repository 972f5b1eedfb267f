// Writes the generated documents: reference.md, and in a second folder the manual pages, the JSON Schema and the sample of a file.
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

#include "app/cli/command.h"
#include "app/docs.h"

int main(int count, char** words) {
  if (count != 3) {
    std::fputs("usage: penstock_docs SOURCE_DOCS_DIR OUTPUT_DIR\n", stderr);
    return 2;
  }
  const auto write = [](const std::string& path, const std::string& text) {
    std::ofstream out(path);
    out << text;
    if (!out.flush()) std::fprintf(stderr, "cannot write %s\n", path.c_str());
    return static_cast<bool>(out);
  };
  const std::string docs = words[1], output = words[2];
  const bool good = write(docs + "/reference.md", penstock::generate_reference()) &&
                    write(output + "/node.yaml.5", penstock::generate_man_page()) &&
                    write(output + "/penstock.1", penstock::man_page()) &&
                    write(output + "/node.yaml", penstock::generate_sample()) &&
                    write(output + "/node.schema.json", penstock::generate_schema().dump(2) + "\n");
  return good ? 0 : 1;
}
