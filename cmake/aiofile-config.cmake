include(CMakeFindDependencyMacro)
find_dependency(Threads)

if(NOT TARGET aiofile::caio)
  include(${CMAKE_CURRENT_LIST_DIR}/aiofile-targets.cmake)
  include(${CMAKE_CURRENT_LIST_DIR}/AiofileBackends.cmake)
  aiofile_link_backends(aiofile::caio aiofile_BACKENDS)
endif()
