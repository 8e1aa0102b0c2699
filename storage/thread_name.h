// What the threads of the daemon are called, and which of them step back.
#pragma once

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

namespace mptd::storage {

// Names the calling thread, so that top, a debugger and a profile say which part is at work. At most 15 characters.
inline void NameThisThread(const char* name) { (void)pthread_setname_np(pthread_self(), name); }

// The calling thread leaves the processor to the others when there is not enough for all: for work that nobody waits
// for. Not so far that it would starve: somebody waits when it falls behind.
inline void LetOthersGoFirst() {
  constexpr int kNice = 5;
  (void)setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
}

}  // namespace mptd::storage
