#pragma once
// The contexts of one thread, driven together: a coroutine may await operations of several.

#include <poll.h>

#include <array>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include <caio/config.hpp>
#include <caio/detail/sleep.hpp>
#include <caio/engine.hpp>
#include <caio/engine_turns.hpp>

namespace caio::inline CAIO_ABI {

class Loop {
 public:
  /// The context that this thread is driving just now; null outside of run(), poll() and flush().
  [[nodiscard]] static Engine* running() noexcept {
    forget_parents();
    return running_;
  }

  /// While it lives, `engine` is the running one, attached to this thread.
  class Driving {
   public:
    explicit Driving(Engine& engine, const char* what) {
      if (engine.inherited()) throw std::logic_error(message(what, "the context was inherited through fork()"));
      if (running() != nullptr) throw std::logic_error(message(what, "nested: this thread is inside run() or poll()"));
      prune();
      if (!join(engine)) throw std::logic_error(message(what, "the context belongs to another thread"));
      running_ = &engine;
    }
    Driving(const Driving&) = delete;
    Driving& operator=(const Driving&) = delete;
    ~Driving() { running_ = nullptr; }

   private:
    static std::string message(const char* what, const char* why) {
      return std::string("caio::Context::") + what + ": " + why;
    }
  };

  /// While it lives, `engine` ends, and is the running one: who asks for the current context in vain gets an answer.
  class Ending {
   public:
    explicit Ending(Engine& engine) noexcept : outer_(running()) { running_ = &engine; }
    Ending(const Ending&) = delete;
    Ending& operator=(const Ending&) = delete;
    ~Ending() { running_ = outer_; }

   private:
    Engine* outer_;
  };

  /// Makes an engine one of this thread's. False: it belongs to another thread.
  static bool join(Engine& engine) noexcept {
    forget_parents();
    const bool fresh = !engine.on_own_thread();
    if (!engine.attach()) return false;
    if (!fresh) return true;
    static thread_local const ThreadEnd end_of_thread;
    static_cast<void>(end_of_thread);
    engine.sibling_ = std::exchange(first_, &engine);
    engine.linked_ = engine.shared_from_this();
    for (Engine* watcher = first_; watcher != nullptr; watcher = watcher->sibling_) {
      if (!watcher->poll_set_) continue;
      for (const int fd : engine.sources()) watcher->watch(fd);
    }
    for (Engine* each = engine.poll_set_ ? first_ : nullptr; each != nullptr; each = each->sibling_) {
      if (each == &engine) continue;
      for (const int fd : each->sources()) engine.watch(fd);
    }
    return true;
  }

  /// Forgets the contexts of this thread that have ended, here or, when they were driven no more, on another one.
  static void prune() noexcept {
    for (Engine** place = &first_; *place != nullptr;) {
      Engine& engine = **place;
      if (!engine.ended()) {
        place = &engine.sibling_;
        continue;
      }
      *place = std::exchange(engine.sibling_, nullptr);
      const std::shared_ptr<Engine> last = std::move(engine.linked_);
      for (Engine* watcher = first_; watcher != nullptr; watcher = watcher->sibling_) {
        if (!watcher->poll_set_) continue;
        for (const int fd : engine.sources()) watcher->poll_set_->remove(fd);
      }
    }
  }

  /// An operation or a task of `engine` is started here. A context that was made on this thread and has not been driven
  /// yet becomes this thread's when another of its contexts is being driven: else nobody would drive it.
  static void adopt(Engine& engine) noexcept {
    if (running() != nullptr && !engine.attached() && engine.made_here() && !engine.inherited()) join(engine);
  }

  /// One turn of all: exchange with the backends, sleeping if nothing is ready, then run what is ready.
  static std::size_t turn(bool may_sleep) noexcept {
    if (first_->sibling_ == nullptr) {
      const std::shared_ptr<Engine> alive = first_->shared_from_this();
      alive->exchange(may_sleep);
      return alive->run_ready();
    }
    for_each([](Engine& engine) { engine.exchange(false); });
    if (may_sleep && !any_work()) sleep();
    std::size_t count = 0;
    for_each([&](Engine& engine) { count += engine.run_ready(); });
    return count;
  }

  /// Submits without running anything. True: something is ready.
  static bool flush() noexcept {
    for_each([](Engine& engine) { engine.exchange(false); });
    return any_work();
  }

  /// Before a foreign loop sleeps on fileno(): makes sure that everything will make it readable.
  static bool prepare_foreign_sleep(Engine& engine) noexcept {
    bool busy = any_work();
    for (Engine* each = first_; each != nullptr; each = each->sibling_) busy |= !each->prepare_sleep();
    if (!engine.poll_set_) return busy;
    const auto deadline = earliest_deadline();
    engine.poll_set_->arm(deadline ? std::chrono::nanoseconds(deadline->time_since_epoch()).count() : 0);
    if (busy) engine.mailbox_.kick();
    return busy;
  }

  /// A descriptor for foreign loops that covers all contexts of the thread; -1 when out of descriptors.
  static int fileno(Engine& engine) noexcept {
    if (!engine.poll_set_) {
      try {
        engine.poll_set_ = std::make_unique<detail::PollSet>();
      } catch (const std::bad_alloc&) {
        return -1;
      }
      for (const int fd : engine.sources()) engine.watch(fd);
      for (Engine* each = engine.on_own_thread() ? first_ : nullptr; each != nullptr; each = each->sibling_) {
        if (each == &engine) continue;
        for (const int fd : each->sources()) engine.watch(fd);
      }
      engine.mailbox_.kick();  // what was queued before has to be seen
    }
    return engine.poll_set_->fileno();
  }

 private:
  friend class Engine;

  /// Its destructor runs when the thread ends, with contexts that live on elsewhere.
  struct ThreadEnd {
    ThreadEnd() = default;
    ThreadEnd(const ThreadEnd&) = delete;
    ThreadEnd& operator=(const ThreadEnd&) = delete;
    ~ThreadEnd() {
      forget_parents();
      // As long as one settles, another thread that ends it has to wait, and leaves what links them alone.
      for (Engine* engine = first_; engine != nullptr; engine = engine->sibling_) engine->begin_settling();
      for (Engine* engine = first_; engine != nullptr; engine = engine->sibling_) engine->settle();
      let_go();
    }
  };

  static void let_go() noexcept {
    while (first_ != nullptr) {
      const std::shared_ptr<Engine> last = std::move(first_->linked_);
      first_ = std::exchange(last->sibling_, nullptr);
      last->end_settling();
    }
  }

  template <class Function>
  static void for_each(Function function) noexcept {
    for (Engine* engine = first_; engine != nullptr;) {
      const std::shared_ptr<Engine> alive = engine->shared_from_this();
      function(*alive);
      engine = alive->ended() ? nullptr : alive->sibling_;  // one that ended meanwhile has left the list
    }
  }

  static bool any_work() noexcept {
    for (const Engine* engine = first_; engine != nullptr; engine = engine->sibling_) {
      if (engine->has_work()) return true;
    }
    return false;
  }

  static std::optional<TimePoint> earliest_deadline() noexcept {
    std::optional<TimePoint> earliest;
    for (const Engine* engine = first_; engine != nullptr; engine = engine->sibling_) {
      const auto deadline = engine->deadline();
      if (deadline && (!earliest || *deadline < *earliest)) earliest = deadline;
    }
    return earliest;
  }

  static void sleep() noexcept {
    std::array<::pollfd, 48> few;
    std::vector<::pollfd> many;
    std::size_t count = 0;
    std::optional<TimePoint> deadline = earliest_deadline();
    for (Engine* engine = first_; engine != nullptr; engine = engine->sibling_) {
      if (!engine->prepare_sleep()) return;
      for (const int fd : engine->sources()) {
        if (fd < 0) continue;
        const ::pollfd polled{.fd = fd, .events = POLLIN, .revents = 0};
        if (many.empty() && count < few.size()) {
          few[count++] = polled;
        } else if (deadline != TimePoint::min()) {
          try {
            if (many.empty()) many.assign(few.begin(), few.end());
            many.push_back(polled);
          } catch (const std::bad_alloc&) {
            deadline = TimePoint::min();  // without memory to sleep on all of them, nobody sleeps
          }
        }
      }
    }
    detail::sleep_on(many.empty() ? std::span(few).first(count) : std::span(many), deadline);
    for_each([](Engine& engine) { engine.exchange(false); });
  }

  /// After a fork, the contexts of the parent's thread are nothing to be driven here.
  static void forget_parents() noexcept {
    const unsigned generation = detail::process_generation();
    if (std::exchange(generation_, generation) == generation) return;
    running_ = nullptr;
    let_go();
  }

  static inline thread_local constinit Engine* first_ = nullptr;
  static inline thread_local constinit Engine* running_ = nullptr;
  static inline thread_local constinit unsigned generation_ = 0;
};

// ---- what an engine needs to know of its siblings ----------------------------------------------------------------

/// A new source of wake-ups: for every foreign loop that watches a context of this thread.
inline void Engine::watch(int fd) noexcept {
  if (poll_set_) poll_set_->add(fd);
}

inline void Engine::announce(int fd) noexcept {
  watch(fd);
  for (Engine* engine = Loop::first_; engine != nullptr; engine = engine->sibling_) {
    if (engine != this) engine->watch(fd);
  }
}

inline bool Engine::watched() const noexcept {
  if (poll_set_) return true;
  if (Loop::first_ == this && sibling_ == nullptr) return false;
  for (const Engine* engine = Loop::first_; engine != nullptr; engine = engine->sibling_) {
    if (engine->poll_set_) return true;
  }
  return false;
}

}  // namespace caio::inline CAIO_ABI
