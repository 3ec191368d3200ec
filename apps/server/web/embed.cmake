# Embeds the web page into a target: include() it once gs_server exists. The page's own files lie beside this one; its two libraries are
# Debian's packages and are copied into the binary as they are installed, their licence headers included.
#
# As a script (cmake -DOUTPUT=... -DASSETS=path=file;... -P embed.cmake) it writes the C++ source that holds the bytes.

if(CMAKE_SCRIPT_MODE_FILE)
  set(types_html "text/html; charset=utf-8")
  set(types_js "text/javascript; charset=utf-8")
  set(types_css "text/css; charset=utf-8")
  set(types_svg "image/svg+xml")
  set(table "")
  foreach(asset IN LISTS ASSETS)
    string(REGEX MATCH "^([^=]+)=(.+)$" matched "${asset}")
    set(path "${CMAKE_MATCH_1}")
    set(file "${CMAKE_MATCH_2}")
    string(REGEX MATCH "[a-z]+$" kind "${file}")
    file(READ "${file}" bytes HEX)
    string(LENGTH "${bytes}" digits)
    math(EXPR size "${digits} / 2")
    file(SHA256 "${file}" hash)
    string(SUBSTRING "${hash}" 0 32 hash)
    string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${bytes}")
    string(APPEND table
      "    {\"${path}\", \"${types_${kind}}\", \"\\\"${hash}\\\"\", std::string_view(\"${bytes}\", ${size})},\n")
  endforeach()
  file(WRITE "${OUTPUT}"
    "// Written by apps/server/web/embed.cmake from the files of the web page.\n"
    "#include \"apps/server/page_assets.h\"\n\nnamespace gritstone {\nnamespace {\n\n"
    "constexpr PageAsset kAssets[] = {\n${table}};\n\n}  // namespace\n\n"
    "std::span<const PageAsset> page_assets() noexcept { return kAssets; }\n\n}  // namespace gritstone\n")
  return()
endif()

# Debian 12: libjs-marked, node-dompurify (apps/install_packages.sh).
find_file(MARKED_JS marked.umd.min.js PATHS /usr/share/javascript/marked NO_DEFAULT_PATH REQUIRED)
find_file(PURIFY_JS purify.min.js PATHS /usr/share/nodejs/dompurify/dist NO_DEFAULT_PATH REQUIRED)

set(page_assets "/=${CMAKE_CURRENT_LIST_DIR}/index.html" "/vendor/marked.js=${MARKED_JS}" "/vendor/purify.js=${PURIFY_JS}")
set(page_files ${CMAKE_CURRENT_LIST_DIR}/index.html ${MARKED_JS} ${PURIFY_JS})
file(GLOB page_sources CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_LIST_DIR}
  ${CMAKE_CURRENT_LIST_DIR}/*.js ${CMAKE_CURRENT_LIST_DIR}/*.css ${CMAKE_CURRENT_LIST_DIR}/*.svg ${CMAKE_CURRENT_LIST_DIR}/js/*.js)
foreach(source IN LISTS page_sources)
  list(APPEND page_assets "/${source}=${CMAKE_CURRENT_LIST_DIR}/${source}")
  list(APPEND page_files ${CMAKE_CURRENT_LIST_DIR}/${source})
endforeach()

set(page_output ${CMAKE_CURRENT_BINARY_DIR}/page_assets.cc)
add_custom_command(OUTPUT ${page_output}
  COMMAND ${CMAKE_COMMAND} "-DOUTPUT=${page_output}" "-DASSETS=${page_assets}" -P ${CMAKE_CURRENT_LIST_DIR}/embed.cmake
  DEPENDS ${page_files} ${CMAKE_CURRENT_LIST_DIR}/embed.cmake
  COMMENT "Embedding the web page" VERBATIM)
target_sources(gs_server PRIVATE ${page_output})
