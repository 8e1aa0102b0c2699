# `cpack -G DEB` in a build folder makes mptd_<version>_<architecture>.deb: the component "runtime" of cmake/install.cmake,
# the systemd unit and /etc/mptd/mptd.yaml. Its scripts are in deploy/debian; scripts/test-package installs, upgrades and
# removes it.

# Names absolute paths, so a plain `cmake --install` leaves it out.
set(config ${PROJECT_BINARY_DIR}/package/mptd.yaml)
file(READ ${PROJECT_SOURCE_DIR}/config/mptd.example.yaml text)
string(REPLACE "\n  # data_dir: ./mptd-data\n" "\n  data_dir: /var/lib/mptd/data\n" edited "${text}")
if(edited STREQUAL text)
  message(FATAL_ERROR "config/mptd.example.yaml does not have \"# data_dir: ./mptd-data\", which the package's file sets")
endif()
string(REPLACE "docs/CONFIGURATION.md says more" "mptd.yaml(5) says more" edited "${edited}")
file(WRITE ${config} "${edited}")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/config/mptd.example.yaml)
install(FILES ${config} DESTINATION /etc/mptd COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${PROJECT_SOURCE_DIR}/deploy/systemd/mptd.service DESTINATION /usr/lib/systemd/system
  COMPONENT package EXCLUDE_FROM_ALL)
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION /usr/share/doc/mptd RENAME copyright
  COMPONENT package EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_SET_DESTDIR ON)  # for the absolute paths
set(CPACK_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGE_NAME mptd)
set(CPACK_PACKAGE_CONTACT "mptd maintainers <mptd@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Merkle Patricia Trie daemon")
set(CPACK_COMPONENTS_ALL runtime package)
set(CPACK_COMPONENTS_GROUPING ALL_COMPONENTS_IN_ONE)
set(CPACK_DEB_COMPONENT_INSTALL ON)

set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_NAME mptd)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Owns Ethereum-compatible state for consensus and execution services: blocks of
changes go in over gRPC; state roots, accounts, storage and proofs come out.
Needs a processor of the level x86-64-v2.")
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS "adduser, init-system-helpers")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(scripts ${PROJECT_SOURCE_DIR}/deploy/debian)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${scripts}/postinst ${scripts}/prerm ${scripts}/postrm ${scripts}/conffiles)
include(CPack)
