# The one place that sets how this project is compiled.

set(MPTD_SANITIZER "" CACHE STRING "Sanitizer to build with: empty, address (with undefined) or thread")
set_property(CACHE MPTD_SANITIZER PROPERTY STRINGS "" address thread)

# Programs are position-independent whatever the compiler does by itself.
include(CheckPIESupported)
check_pie_supported(LANGUAGES CXX)

# What makes an error in memory harder to use. cmake/checks/hardening.py looks for it in the built programs.
# Not -fcf-protection: Debian 12's start-up files and C library lack the marks for it, so no program of them can have it.
function(mptd_harden target)
  target_compile_options(${target} PRIVATE -fstack-protector-strong -fstack-clash-protection)
  if(NOT MPTD_SANITIZER)
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
  endif()
  target_link_options(${target} PRIVATE -Wl,-z,relro,-z,now,-z,noexecstack)
endfunction()

# Warnings as errors, hardening and the chosen sanitizer, for our own targets only.
function(mptd_compile_options target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast -Wcast-align
    -Woverloaded-virtual -Wconversion -Wno-sign-conversion -Werror
    -fno-omit-frame-pointer)
  mptd_harden(${target})
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    # Of every x86 server since 2009. Counting bits is what nodes do all day, and without this it is a function call.
    target_compile_options(${target} PRIVATE -march=x86-64-v2)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    # GCC 12 warns of its own std::string (GCC bug 105651).
    target_compile_options(${target} PRIVATE -Wno-restrict)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    # GCC copies and clears small pieces with "rep movs" and "rep stos" otherwise, which take longer to begin than a
    # node takes to copy.
    target_compile_options(${target} PRIVATE
      -mmemcpy-strategy=libcall:-1:noalign
      -mmemset-strategy=libcall:-1:noalign)
  endif()
  if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
    target_compile_options(${target} PRIVATE -Wthread-safety)
  endif()
  if(MPTD_SANITIZER STREQUAL "address")
    target_compile_options(${target} PRIVATE -fsanitize=address,undefined -fno-sanitize-recover=all)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  elseif(MPTD_SANITIZER STREQUAL "thread")
    # Headers must not know: protobuf's would lay out map fields otherwise than the distribution's library does.
    target_compile_options(${target} PRIVATE -fsanitize=thread -U__SANITIZE_THREAD__)
    # Fences are modelled too weakly by the run-time; the code must not use them.
    target_link_options(${target} PUBLIC -fsanitize=thread)
  endif()
endfunction()

# Compiling with a sanitizer is mostly instrumenting templates of gRPC, Abseil and the standard library, in each source
# anew; eight sources of a library as one take a third of that. cmake/unity.py finds those that would clash, this list has
# what it does not find. The release build compiles each source by itself, so it finds includes that are missing.
option(MPTD_UNITY "Compile the sources of a library several at a time" OFF)
set(MPTD_ALONE metrics/log.cc)  # its private struct has a field of a type in an unnamed namespace

function(mptd_unity target)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.cc$")
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  execute_process(COMMAND ${Python3_EXECUTABLE} ${PROJECT_SOURCE_DIR}/cmake/unity.py ${sources}
    WORKING_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} OUTPUT_VARIABLE alone COMMAND_ERROR_IS_FATAL ANY)
  foreach(source IN LISTS MPTD_ALONE)
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${PROJECT_SOURCE_DIR})
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR})
    list(APPEND alone ${source})
  endforeach()
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  set_source_files_properties(${alone} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
endfunction()

# mptd_library(name SOURCES a.cc b.cc DEPENDS other libs)
function(mptd_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  mptd_compile_options(${name})
  if(MPTD_UNITY)
    mptd_unity(${name})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_DEPENDS})
endfunction()

# The allocator of long-running programs: what the writer makes, other threads free, all day. Sanitizers bring their own.
find_library(MPTD_JEMALLOC jemalloc REQUIRED)

function(mptd_use_jemalloc target)
  if(NOT MPTD_SANITIZER)
    target_sources(${target} PRIVATE ${PROJECT_SOURCE_DIR}/storage/allocator.cc)
    target_link_options(${target} PRIVATE LINKER:--push-state,--no-as-needed ${MPTD_JEMALLOC} LINKER:--pop-state)
  endif()
endfunction()

# What programs of this build are run with when they are tested.
set(MPTD_SANITIZER_ENVIRONMENT
  "TSAN_OPTIONS=halt_on_error=1 ignore_noninstrumented_modules=1 suppressions=${PROJECT_SOURCE_DIR}/tests/sanitizers/tsan.supp"
  "LSAN_OPTIONS=print_suppressions=0 suppressions=${PROJECT_SOURCE_DIR}/tests/sanitizers/lsan.supp"
  "UBSAN_OPTIONS=print_stacktrace=1")

# What every program of a build with sanitizers is linked with besides.
function(mptd_link_sanitizer target)
  if(MPTD_SANITIZER STREQUAL "thread" AND MPTD_BUILD_TESTS)
    target_link_libraries(${target} PRIVATE mptd_visible_locks)
  endif()
endfunction()

# mptd_program(name SOURCES main.cc DEPENDS libs): an executable in <build>/bin.
function(mptd_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  mptd_compile_options(${name})
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS})
  mptd_link_sanitizer(${name})
endfunction()

# mptd_test(name SOURCES a_test.cc DEPENDS libs [TIMEOUT seconds] [LABELS ...]): one GoogleTest program, one ctest entry.
# MPTD_TESTDATA in its environment is the folder of the project's own vectors, MPTD_BIN that of the built programs.
function(mptd_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  mptd_compile_options(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${name} PRIVATE ${ARG_DEPENDS} GTest::gmock GTest::gtest_main)
  mptd_link_sanitizer(${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES
    TIMEOUT ${ARG_TIMEOUT}
    LABELS "${ARG_LABELS}"
    ENVIRONMENT "MPTD_TESTDATA=${PROJECT_SOURCE_DIR}/tests/testdata;MPTD_BIN=${CMAKE_BINARY_DIR}/bin;${MPTD_SANITIZER_ENVIRONMENT}")
endfunction()
