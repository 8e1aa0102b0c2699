// What is printed of the settings. Pure functions; safe from any thread.
#pragma once

#include <string>

#include "config/config.h"

namespace mptd::config {

std::string RenderHelp();                      // --help
std::string RenderYaml(const Loaded& loaded);  // --print-config: a file for --config, with where each value came from
std::string RenderJson(const Loaded& loaded);  // --print-config=json: an object with an object for each key
std::string RenderDocs();                      // --print-config-docs: docs/CONFIGURATION.md
std::string RenderSchema();                    // --print-config-schema: a JSON schema of that file
std::string RenderExample();                   // --print-config-example: config/mptd.example.yaml

}  // namespace mptd::config
