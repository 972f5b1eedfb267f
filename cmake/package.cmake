# What is installed, and the packages of it: `make deb`, packaging/penstock.spec.
#
# Manuals, completions, schema and the sample of a file are written by the program itself (target package_files).
set(files ${CMAKE_BINARY_DIR}/package)
set(CMAKE_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
add_custom_target(package_files COMMAND ${CMAKE_SOURCE_DIR}/packaging/stage $<TARGET_FILE:penstock> $<TARGET_FILE:penstock_docs> ${files} VERBATIM)
add_dependencies(package_files penstock penstock-agent penstock_docs)

set(doc share/doc/penstock)
install(TARGETS penstock DESTINATION sbin)
install(TARGETS penstock-agent DESTINATION libexec/penstock)
install(DIRECTORY ${files}/man DESTINATION share)
install(FILES ${files}/bash/penstock DESTINATION share/bash-completion/completions)
install(FILES ${files}/zsh/_penstock DESTINATION share/zsh/vendor-completions)
install(FILES ${files}/fish/penstock.fish DESTINATION share/fish/vendor_completions.d)
install(FILES ${files}/node.schema.json DESTINATION share/penstock)
install(FILES ${files}/node.yaml DESTINATION /etc/penstock)
install(FILES packaging/fail2ban/penstock.conf DESTINATION /etc/fail2ban/action.d)
install(DIRECTORY packaging/systemd/ DESTINATION lib/systemd/system)
install(DIRECTORY packaging/udev/ DESTINATION lib/udev/rules.d)
install(DIRECTORY packaging/sysusers/ DESTINATION lib/sysusers.d)
install(DIRECTORY examples DESTINATION ${doc})
install(DIRECTORY docs/ DESTINATION ${doc} FILES_MATCHING PATTERN "*.md")
install(FILES README.md LICENSE LICENSE.GPL-2.0 packaging/debian/copyright DESTINATION ${doc})

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME penstock)
set(CPACK_PACKAGE_VENDOR penstock)
set(CPACK_PACKAGE_CONTACT "the authors of penstock")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "network node from one declarative file, in eBPF/XDP")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "penstock compiles one YAML file into eBPF programs and tables and swaps them in as
 one transaction; if nobody confirms a change in time, the kernel itself goes back
 to the one before.  Blocklists, filters, rate limits and bans are judged in the
 driver, before the kernel allocates anything.  No daemon, no compiler and no kernel
 headers are needed: the programs are inside.")
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS fail2ban)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
foreach(script conffiles postinst prerm postrm)
  list(APPEND CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA ${CMAKE_SOURCE_DIR}/packaging/debian/${script})
endforeach()
include(CPack)
