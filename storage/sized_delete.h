// Memory from operator new, given back with its size: an allocator that is told it need not look it up. Any thread.
#pragma once

#include <cstddef>
#include <new>

namespace mptd::storage {

// `bytes` is what operator new was asked for, or what the allocator rounds to the same. Some compilers have to be asked
// for the sized form; without it the size is not needed.
inline void SizedDelete(void* memory, [[maybe_unused]] size_t bytes) {
#ifdef __cpp_sized_deallocation
  ::operator delete(memory, bytes);
#else
  ::operator delete(memory);
#endif
}

}  // namespace mptd::storage
