#pragma once
// FunctionView: something to call, not owned. Trivially copyable, so that options can hold one.

#include <concepts>
#include <memory>
#include <type_traits>
#include <utility>

#include <caio/config.hpp>

namespace aiofile::inline CAIO_ABI {

template <class Signature>
class FunctionView;

/// Refers to an object that can be called with `Arguments` and gives `Result` (void: anything). The object must live as
/// long as it may be called. Made of nothing, it is false and must not be called.
template <class Result, class... Arguments>
class FunctionView<Result(Arguments...)> {
 public:
  FunctionView() = default;

  template <class Function>
  requires(std::is_object_v<std::remove_reference_t<Function>> &&
           !std::same_as<std::remove_cvref_t<Function>, FunctionView> &&
           std::is_invocable_r_v<Result, Function&, Arguments...>) FunctionView(Function&& function)
  noexcept  // NOLINT(google-explicit-constructor): a lambda is what it is made of
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(function)))),
        call_([](void* object, Arguments... arguments) -> Result {
          auto& callee = *static_cast<std::remove_reference_t<Function>*>(object);
          return static_cast<Result>(callee(std::forward<Arguments>(arguments)...));
        }) {}

  Result operator()(Arguments... arguments) const { return call_(object_, std::forward<Arguments>(arguments)...); }
  explicit operator bool() const noexcept { return call_ != nullptr; }

 private:
  void* object_ = nullptr;
  Result (*call_)(void*, Arguments...) = nullptr;
};

}  // namespace aiofile::inline CAIO_ABI
