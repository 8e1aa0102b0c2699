// Who can reach the addresses of some settings, and which combinations of the settings of TLS make sense. Pure
// functions; safe from any thread.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.h"

namespace mptd::config {

// Whether nobody but this machine reaches a listen address: a unix socket, 127.0.0.0/8, [::1], localhost, "off" or
// nothing. Other names count as open, whatever they stand for: that can change without this daemon.
bool OnlyThisMachine(std::string_view address);

// What keeps a daemon from starting with these settings, as pairs of a key whose value is not its default and what is
// wrong with it: addresses that others can reach without TLS and without being allowed to, files of TLS that are
// missing their counterpart. Empty when nothing does. The files themselves are not looked at.
std::vector<std::pair<std::string_view, std::string>> CheckExposure(const Settings& settings);

}  // namespace mptd::config
