# What `cmake --install` puts where: the programs, the interface, the genesis files, and the proof verifier as a library that
# other projects find with find_package(mptd) and link as mptd::proof (with JSON: mptd::eip1186).
include(CMakePackageConfigHelpers)

install(TARGETS mptd mptctl RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/ DESTINATION ${CMAKE_INSTALL_DATADIR}/mptd/proto FILES_MATCHING PATTERN "*.proto")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/core/genesis/ DESTINATION ${CMAKE_INSTALL_DATADIR}/mptd/genesis)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

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
