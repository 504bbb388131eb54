# Used by the build and, installed, by the package: the optional libraries are looked for where the headers are compiled.

# Links liburing and libaio to `target`, each with the macro that turns its backend on, where they are wanted
# (AIOFILE_WITH_LIBURING, AIOFILE_WITH_LIBAIO: AUTO, ON or OFF) and found. `linked` becomes the list of those.
function(aiofile_link_backends target linked)
  list(PREPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_FUNCTION_LIST_DIR})
  set(found "")
  foreach(library IN ITEMS liburing libaio)
    string(TOUPPER ${library} NAME)
    set(wanted "${AIOFILE_WITH_${NAME}}")
    if(wanted STREQUAL "")
      set(wanted AUTO)
    endif()

    set(outcome "switched off")
    if(wanted)
      set(outcome "not found")
      find_package(${library} MODULE QUIET)
      if(${library}_FOUND)
        set(outcome "found")
        list(APPEND found ${library})
        # BUILD_INTERFACE keeps both out of the installed targets.
        target_link_libraries(${target} INTERFACE $<BUILD_INTERFACE:${library}::${library}>)
        target_compile_definitions(${target} INTERFACE $<BUILD_INTERFACE:CAIO_WITH_${NAME}=1>)
      elseif(NOT wanted STREQUAL "AUTO")
        message(FATAL_ERROR "aiofile: AIOFILE_WITH_${NAME} is ${wanted}, but ${library} was not found")
      endif()
    endif()
    if(NOT aiofile_FIND_QUIETLY)
      message(STATUS "aiofile: ${library} ${outcome}")
    endif()
  endforeach()
  set(${linked} "${found}" PARENT_SCOPE)
endfunction()
