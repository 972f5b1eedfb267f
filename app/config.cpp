#include "app/config.h"

#include "app/features.h"
#include "core/config/reader.h"

namespace penstock {

Result<Config> load_config_text(const std::string& path, std::string text, const std::string& copies) {
  TRY_ASSIGN(const Document document, parse_document(path, std::move(text)));
  Decoder decoder(document);
  decoder.read_copies_from(copies);
  Config config;
  config.file = path;
  config_keys().decode(decoder, document.root, config);
  TRY(decoder.finish());
  config.warnings = decoder.take_warnings();
  config.text = document.text();
  return config;
}

Result<Config> load_config(const std::string& path) {
  TRY_ASSIGN(std::string text, read_text(path));
  return load_config_text(path, std::move(text));
}

}  // namespace penstock
