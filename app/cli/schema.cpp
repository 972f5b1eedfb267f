// penstock schema
#include <nlohmann/json.hpp>

#include "app/cli/command.h"
#include "app/docs.h"

namespace penstock {
namespace {

int run(const Invocation& in) {
  const std::string what = in.argument("WHAT", "json");
  if (what == "json") {
    const Json schema = generate_schema();
    in.out.print(schema.dump(2) + "\n");
    in.out.json({{"json_schema", schema}});
    return 0;
  }
  const std::string text = what == "reference" ? generate_reference() : what == "file-man" ? generate_man_page() : man_page();
  in.out.print(text);
  in.out.json({{"what", what}, {"text", text}});
  return 0;
}

}  // namespace

const Command command_schema = {
    .name = "schema",
    .summary = "print what a node's file may contain, for editors and people",
    .description =
        "Prints the JSON Schema of the node's file (for editors that complete and check YAML), its reference as Markdown, the manual page of the file, "
        "or the manual page of this command line. All come from the descriptors that decode the file and parse the command line.",
    .arguments = {{.name = "WHAT", .description = "json (the default), reference, file-man for node.yaml(5), or man for penstock(1)", .kind = Kind::choice,
                   .choices = {"json", "reference", "file-man", "man"}, .optional = true}},
    .examples = {{"penstock schema > penstock.schema.json"}, {"penstock schema man | man -l -"}},
    .run = run,
};

}  // namespace penstock
