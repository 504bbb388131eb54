#pragma once
// Replaces system calls, and puts them back at its end.

#include <caio/system.hpp>

namespace support {

class ReplacedCalls {
 public:
  ReplacedCalls() = default;
  ~ReplacedCalls() { caio::system_calls = caio::SystemCalls(); }
  ReplacedCalls(const ReplacedCalls&) = delete;
  ReplacedCalls& operator=(const ReplacedCalls&) = delete;
  caio::SystemCalls* operator->() const { return &caio::system_calls; }
};

}  // namespace support
