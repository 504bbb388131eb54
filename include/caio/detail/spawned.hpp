#pragma once
// What a context resumes without anybody awaiting it: spawned tasks and posted handles.

#include <coroutine>
#include <exception>
#include <functional>
#include <memory>
#include <system_error>
#include <utility>

#include <caio/config.hpp>
#include <caio/detail/frame_pool.hpp>
#include <caio/detail/transfer.hpp>
#include <caio/engine.hpp>
#include <caio/request.hpp>
#include <caio/task.hpp>

namespace caio::inline CAIO_ABI::detail {

/// The frame around a spawned task; the context owns it until it ends.
class Spawned {
 public:
  class promise_type : public RecycledFrame {
   public:
    promise_type() noexcept {
      launch_.run = [](Job& job) noexcept {
        promise_type& self = *static_cast<Member&>(job).promise;
        self.engine_->spawned.push_back(self.owned_);
        resume(std::coroutine_handle<promise_type>::from_promise(self));
      };
      owned_.run = [](Job& job) noexcept {
        std::coroutine_handle<promise_type>::from_promise(*static_cast<Member&>(job).promise).destroy();
      };
    }
    promise_type(const promise_type&) = delete;
    promise_type& operator=(const promise_type&) = delete;
    ~promise_type() {
      if (owned_.linked()) owned_.unlink();
    }

    Spawned get_return_object() noexcept { return Spawned(*this); }
    std::suspend_always initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }  // the frame goes by itself
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }

   private:
    friend Spawned;
    struct Member : Job {
      explicit Member(promise_type* owner) noexcept : promise(owner) {}
      promise_type* promise;
    };
    Member launch_{this};
    Member owned_{this};
    Engine* engine_ = nullptr;
  };

  static void start(Engine& engine, Task<> task, std::function<void(std::exception_ptr)> on_error) {
    const Spawned spawned = body(engine, std::move(task), std::move(on_error));
    spawned.promise_->engine_ = &engine;
    Job& launch = spawned.promise_->launch_;
    if (engine.on_own_thread()) {
      engine.make_ready(launch);
    } else if (!engine.post(launch)) {
      std::coroutine_handle<promise_type>::from_promise(*spawned.promise_).destroy();
    }
  }

 private:
  explicit Spawned(promise_type& promise) noexcept : promise_(&promise) {}

  static Spawned body(Engine& engine, Task<> task, std::function<void(std::exception_ptr)> on_error) {
    try {
      co_await std::move(task);
    } catch (...) {
      if (on_error) {
        on_error(std::current_exception());
      } else if (!ended_with(engine)) {
        std::terminate();
      }
    }
  }

  /// Whether the exception that is being handled is only what the end of its context does to a task that waits.
  static bool ended_with(const Engine& engine) noexcept {
    try {
      throw;
    } catch (const std::system_error& error) {
      return engine.ended() && error.code() == std::errc::operation_canceled;
    } catch (...) {
      return false;
    }
  }

  promise_type* promise_;
};

/// A handle on its way to the context's thread.
class Posted : private Job {
 public:
  static void post(Engine& engine, std::coroutine_handle<> coroutine) {
    auto posted = std::unique_ptr<Posted>(new Posted(coroutine));
    if (!engine.inherited() && engine.post(*posted)) static_cast<void>(posted.release());
  }

 private:
  explicit Posted(std::coroutine_handle<> posted) noexcept : coroutine_(posted) {
    run = [](Job& job) noexcept {
      const std::unique_ptr<Posted> self(static_cast<Posted*>(&job));
      const std::coroutine_handle<> coroutine = self->coroutine_;
      resume(coroutine);
    };
  }

  std::coroutine_handle<> coroutine_;
};

}  // namespace caio::inline CAIO_ABI::detail
