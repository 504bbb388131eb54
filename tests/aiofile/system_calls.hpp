#pragma once
// Replaces system calls, and puts them back at its end.

#include <caio/implementation.hpp>
#include <caio/system.hpp>

namespace outcome {

class ReplacedCalls {
 public:
  ReplacedCalls() = default;
  ~ReplacedCalls() { caio::system_calls = caio::SystemCalls(); }
  ReplacedCalls(const ReplacedCalls&) = delete;
  ReplacedCalls& operator=(const ReplacedCalls&) = delete;
  caio::SystemCalls* operator->() const { return &caio::system_calls; }
};

/// The backends whose every transfer is a plain system call.
inline const caio::Implementation plain_backends[] = {caio::Implementation::thread, caio::Implementation::blocking};

}  // namespace outcome
