#pragma once
// The engine's whole public interface.

#include <caio/backend.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/descriptor.hpp>
#include <caio/gather.hpp>
#include <caio/generator.hpp>
#include <caio/implementation.hpp>
#include <caio/operation.hpp>
#include <caio/operations.hpp>
#include <caio/options.hpp>
#include <caio/result.hpp>
#include <caio/selection.hpp>
#include <caio/stop.hpp>
#include <caio/task.hpp>
#include <caio/task_group.hpp>
