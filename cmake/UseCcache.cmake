# For the presets: CMAKE_PROJECT_TOP_LEVEL_INCLUDES.
find_program(CCACHE ccache)
mark_as_advanced(CCACHE)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
