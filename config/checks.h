// What the texts of settings have to look like. Pure functions but for CheckGenesis, which looks at the file system;
// safe from any thread. Each says what is wrong, and nothing when nothing is.
#pragma once

#include <string>
#include <string_view>

namespace mptd::config {

// As metrics/log.h names them; a test holds the two together.
inline constexpr std::string_view kLogLevels[] = {"trace", "debug", "info", "warn", "error", "critical", "off"};
inline constexpr std::string_view kLogModules[] = {"server", "engine", "storage", "rpc", "config"};
inline constexpr std::string_view kLogFormats[] = {"text", "json"};

std::string CheckNotEmpty(std::string_view text);
std::string CheckListenAddress(std::string_view text);          // host:port, [v6]:port, unix:/path
std::string CheckOptionalListenAddress(std::string_view text);  // the same, or empty
std::string CheckHttpAddress(std::string_view text);            // host:port, [v6]:port, off
std::string CheckGenesis(std::string_view text);                // empty, a network, a readable file
std::string CheckModuleLevel(std::string_view text);            // module=level
std::string CheckRoleRule(std::string_view text);               // cert:CN=prover -> reader

}  // namespace mptd::config
