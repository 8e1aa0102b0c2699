# What `cmake --install` puts where. The component "runtime" is what operators run: the programs, manual pages, completion,
# the interface, the genesis files. "development" is the proof verifier as a library that other projects find with
# find_package(mptd) and link as mptd::proof (with JSON: mptd::eip1186). cmake/package.cmake makes a Debian package.
include(CMakePackageConfigHelpers)

set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME runtime)
install(TARGETS mptd mptctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/ DESTINATION ${CMAKE_INSTALL_DATADIR}/mptd/proto FILES_MATCHING PATTERN "*.proto")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/core/genesis/ DESTINATION ${CMAKE_INSTALL_DATADIR}/mptd/genesis)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/deploy/monitoring DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(FILES ${PROJECT_SOURCE_DIR}/config/mptd.example.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)

# Manual pages and completion come from the programs themselves, which builds with sanitizers are too slow for.
if(NOT MPTD_SANITIZER)
  find_program(MPTD_HELP2MAN help2man REQUIRED)
  find_program(MPTD_CMARK cmark REQUIRED)
  set(man ${PROJECT_BINARY_DIR}/man)
  add_custom_command(OUTPUT ${man}/mptd.1 ${man}/mptctl.1 ${man}/mptd.yaml.5
    COMMAND ${PROJECT_SOURCE_DIR}/cmake/man-pages $<TARGET_FILE_DIR:mptd> ${PROJECT_VERSION} ${man}
    DEPENDS mptd mptctl ${PROJECT_SOURCE_DIR}/cmake/man-pages VERBATIM)
  set(completion ${PROJECT_BINARY_DIR}/completion)
  file(MAKE_DIRECTORY ${completion})
  foreach(shell bash zsh fish)
    add_custom_command(OUTPUT ${completion}/mptctl.${shell}
      COMMAND mptctl completion ${shell} > ${completion}/mptctl.${shell} DEPENDS mptctl VERBATIM)
  endforeach()
  add_custom_target(mptd_generated ALL
    DEPENDS ${man}/mptd.1 ${completion}/mptctl.bash ${completion}/mptctl.zsh ${completion}/mptctl.fish)
  install(FILES ${man}/mptd.1 ${man}/mptctl.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  install(FILES ${man}/mptd.yaml.5 DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
  set(share ${CMAKE_INSTALL_DATADIR})
  install(FILES ${completion}/mptctl.bash DESTINATION ${share}/bash-completion/completions RENAME mptctl)
  install(FILES ${completion}/mptctl.zsh DESTINATION ${share}/zsh/vendor-completions RENAME _mptctl)
  install(FILES ${completion}/mptctl.fish DESTINATION ${share}/fish/vendor_completions.d)
endif()

set(CMAKE_INSTALL_DEFAULT_COMPONENT_NAME development)

set(headers account.h eip1186_json.h errors.h hex.h keccak.h nibbles.h proof_verifier.h rlp.h types.h)
list(TRANSFORM headers PREPEND ${PROJECT_SOURCE_DIR}/core/)
install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/mptd/core)
foreach(target proof eip1186)
  target_include_directories(mptd_${target} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/mptd>)
  set_target_properties(mptd_${target} PROPERTIES EXPORT_NAME ${target})
endforeach()
install(TARGETS mptd_proof mptd_eip1186 EXPORT mptd_targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/mptd)
install(EXPORT mptd_targets NAMESPACE mptd:: FILE mptdTargets.cmake DESTINATION ${package})
file(WRITE ${PROJECT_BINARY_DIR}/mptdConfig.cmake [[
include(CMakeFindDependencyMacro)
find_dependency(absl CONFIG)
find_dependency(nlohmann_json CONFIG)
include(${CMAKE_CURRENT_LIST_DIR}/mptdTargets.cmake)
]])
write_basic_package_version_file(${PROJECT_BINARY_DIR}/mptdConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/mptdConfig.cmake ${PROJECT_BINARY_DIR}/mptdConfigVersion.cmake DESTINATION ${package})
