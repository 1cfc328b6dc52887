# `cmake --install`: the runtime's header and library, its CMake package (find_package(pdn), target
# pdn::runtime) and its pkg-config file, licence and examples. The command and its code generator install
# themselves (compiler/driver, compiler/llvm).
include(CMakePackageConfigHelpers)

get_target_property(kind pdn_runtime TYPE)
if(kind STREQUAL "STATIC_LIBRARY")
  target_include_directories(pdn_runtime INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  set_target_properties(pdn_runtime PROPERTIES EXPORT_NAME runtime)
  install(TARGETS pdn_runtime EXPORT pdn-targets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
  install(EXPORT pdn-targets NAMESPACE pdn:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pdn)
endif()
install(FILES runtime/pdn.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

configure_package_config_file(cmake/pdn-config.cmake.in ${CMAKE_BINARY_DIR}/pdn-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pdn)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/pdn-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/pdn-config.cmake ${CMAKE_BINARY_DIR}/pdn-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/pdn)

file(RELATIVE_PATH pdn_pc_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/pdn.pc.in ${CMAKE_BINARY_DIR}/pdn.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/pdn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

install(FILES LICENSE README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples stdlib DESTINATION ${CMAKE_INSTALL_DATADIR}/pdn
        FILES_MATCHING PATTERN "*.pdn" PATTERN "*.png" PATTERN "*.md")
