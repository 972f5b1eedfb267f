# eBPF objects.  hooks/NAME.bpf.c is built once per instruction level (an opcode that a kernel does not
# know is refused even in dead code) and embedded in the binary as NAME.LEVEL.
#
#   may_goto  6.9 and later: open-ended loops, result-returning atomics
#   atomics   5.12 and later: result-returning atomics
#   basic     everything else
find_program(CLANG_BPF NAMES clang-14 clang REQUIRED)
find_program(LLVM_STRIP NAMES llvm-strip-14 llvm-strip REQUIRED)
set(PENSTOCK_BPF_LEVELS may_goto atomics basic)
set(PENSTOCK_BPF_FLAGS -target bpf -O2 -g -mcpu=v3 -Wall -Wextra -Werror -Wno-unused-function
    -Wno-missing-field-initializers -I${CMAKE_SOURCE_DIR} -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE})

# penstock_bpf_object(<output> <source> [flags...]): one stripped object with BTF.
function(penstock_bpf_object output source)
  add_custom_command(
    OUTPUT ${output}
    COMMAND ${CLANG_BPF} ${PENSTOCK_BPF_FLAGS} ${ARGN} -MD -MF ${output}.d -c ${source} -o ${output}
    COMMAND ${LLVM_STRIP} -g ${output}
    DEPENDS ${source} DEPFILE ${output}.d COMMENT "BPF ${output}" VERBATIM)
endfunction()

# Embeds every hook at every level into <target>; core/kernel/embedded.h finds them by name.
function(penstock_embed_programs target)
  file(GLOB hooks CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/hooks/*.bpf.c)
  set(assembly "    .section .rodata\n")
  set(table "")
  foreach(source ${hooks})
    get_filename_component(name ${source} NAME)
    string(REPLACE ".bpf.c" "" name ${name})
    foreach(level ${PENSTOCK_BPF_LEVELS})
      set(object ${CMAKE_BINARY_DIR}/bpf/${name}.${level}.bpf.o)
      penstock_bpf_object(${object} ${source} -DPS_LEVEL_${level})
      list(APPEND objects ${object})
      set(symbol bpf_${name}_${level})
      string(APPEND assembly "    .balign 8\n    .global ${symbol}\n${symbol}:\n    .incbin \"${object}\"\n    .global ${symbol}_end\n${symbol}_end:\n")
      string(APPEND table "PROGRAM(\"${name}\", \"${level}\", ${symbol})\n")
    endforeach()
  endforeach()
  string(APPEND assembly "    .section .note.GNU-stack,\"\",%progbits\n")
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/bpf/embedded.S CONTENT "${assembly}")
  file(GENERATE OUTPUT ${CMAKE_BINARY_DIR}/bpf/embedded.def CONTENT "${table}")
  set_source_files_properties(${CMAKE_BINARY_DIR}/bpf/embedded.S PROPERTIES GENERATED TRUE OBJECT_DEPENDS "${objects}")
  target_sources(${target} PRIVATE ${CMAKE_BINARY_DIR}/bpf/embedded.S)
  target_include_directories(${target} PUBLIC ${CMAKE_BINARY_DIR}/bpf)
endfunction()
