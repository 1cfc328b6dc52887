# Writes OUTPUT, a C file that holds the texts of MODULES (a list of .pdn files) as the table
# `pdn_stdlib` of compiler/sema/stdlib.h.
set(arrays "")
set(rows "")
set(count 0)
foreach(module IN LISTS MODULES)
  get_filename_component(name ${module} NAME_WE)
  file(READ ${module} hex HEX)
  string(LENGTH "${hex}" digits)
  math(EXPR length "${digits} / 2")
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(APPEND arrays "static const unsigned char module_${count}[] = {${bytes}0};\n")
  string(APPEND rows "    {\"${name}\", (const char *)module_${count}, ${length}},\n")
  math(EXPR count "${count} + 1")
endforeach()
file(WRITE ${OUTPUT}.new "/* Made by cmake/embed.cmake from the modules of stdlib. */
#include \"compiler/sema/stdlib.h\"

${arrays}
const PdnModule pdn_stdlib[] = {
${rows}    {NULL, NULL, 0},
};
const size_t pdn_stdlib_count = ${count};
")
file(RENAME ${OUTPUT}.new ${OUTPUT})
