// Loads the embedded eBPF objects: the right instruction level, constants, maps that are shared with others.
#pragma once
#include <map>
#include <memory>
#include <string>

#include "core/base/bytes.h"
#include "core/kernel/bpf.h"

struct bpf_object;

namespace penstock {

// The instruction levels, best first, as the build names them.
enum class Level { may_goto, atomics, basic };
const char* level_name(Level level);

// The best level whose opcodes this kernel's verifier knows, found by loading a few instructions.  Asked once.
Result<Level> kernel_level();

// Does this kernel know frames of several pieces (5.18)?  Found by loading a program for them.  Asked once.
bool kernel_frags();

// A digest of the embedded object hooks/<name>.bpf.c at `level`: equal for builds whose programs and table layouts are.
std::string object_digest(const std::string& name, Level level);

class Object {
 public:
  // Opens the embedded object hooks/<name>.bpf.c at `level`.
  static Result<Object> open(const std::string& name, Level level);

  // Before load().  Sets a variable of .rodata; a symbol that the object lacks, or of another size, is an error.
  Result<> constant(const std::string& symbol, const Bytes& value);
  bool has_constant(const std::string& symbol) const;
  // The variables in the .rodata of a program that was loaded from this object, by symbol.  An error where its size is not
  // that of this object: another version of penstock loaded it.
  Result<std::map<std::string, Bytes>> constants_of(int program) const;
  bool has_map(const std::string& name) const;
  Result<MapSpec> map_spec(const std::string& name) const;
  Result<> reuse(const std::string& map, int fd);           // use this map in the place of one's own
  Result<> resize(const std::string& map, uint32_t entries);
  Result<> leave_out(const std::string& map);               // do not make it: its constants say that no code uses it

  // Before load().  Whether programs are loaded for frames of several pieces (BPF_F_XDP_HAS_FRAGS): by default where
  // kernel and level know them.  What shares a program array must agree.
  bool frags() const { return frags_; }
  void without_frags() { frags_ = false; }

  // An error carries the kernel's words: the last lines of the verifier's log.  Tests name an object in
  // PENSTOCK_STRICT_ALIGNMENT that the verifier is then asked to judge as on a machine without unaligned loads.
  Result<> load();

  // After load(); the object owns the descriptors.
  int program(const std::string& name) const;  // -1 where there is none
  int map(const std::string& name) const;
  std::vector<std::string> map_names() const;  // of its source, without .rodata and the like
  std::map<std::string, int> maps() const;     // by name, without .rodata and the like and those left out

 private:
  struct Close {
    void operator()(bpf_object* object) const;
  };
  std::string name_;
  Level level_ = Level::basic;
  bool frags_ = false;
  std::unique_ptr<bpf_object, Close> object_;
  std::unique_ptr<std::string> log_;
};

}  // namespace penstock
