# `cmake --install`: the programs, and the client library as a CMake package:
#
#   find_package(Waybill REQUIRED)
#   target_link_libraries(app PRIVATE Waybill::client Waybill::outbox_sqlite)
#
# Headers are found as <waybill/client/client.h>. The libraries are static; what they link is found again by
# WaybillConfig.cmake.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set_target_properties(waybill_client PROPERTIES EXPORT_NAME client)
set_target_properties(wb_outbox_sqlite PROPERTIES EXPORT_NAME outbox_sqlite)
install(TARGETS waybill_client wb_outbox_sqlite wb_wire wb_wire_proto wb_async wb_asio wb_record wb_model wb_base
  wb_options
  EXPORT WaybillTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} ${CMAKE_INSTALL_INCLUDEDIR}/waybill)
install(DIRECTORY client protocol DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/waybill
  FILES_MATCHING PATTERN "*.h" PATTERN examples EXCLUDE)

set(package ${CMAKE_INSTALL_LIBDIR}/cmake/Waybill)
install(EXPORT WaybillTargets NAMESPACE Waybill:: DESTINATION ${package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/WaybillConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_SOURCE_DIR}/client/WaybillConfig.cmake ${PROJECT_BINARY_DIR}/WaybillConfigVersion.cmake
  DESTINATION ${package})
