// The locks of the server: as in storage, so that ThreadSanitizer sees them.
#pragma once

#include "storage/mutex.h"

namespace mptd {

using storage::Mutex;
using storage::MutexLock;

}  // namespace mptd
