#pragma once
// The context's pool: threads started when first needed, one queue, wake-ups only for those who sleep.

#include <pthread.h>
#include <signal.h>

#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <caio/config.hpp>
#include <caio/detail/process.hpp>
#include <caio/execute.hpp>
#include <caio/request.hpp>

namespace caio::inline CAIO_ABI::detail {

class ThreadPool {
 public:
  /// `done(owner, request)` is told of each executed request, on the thread that executed it.
  using Done = void (*)(void* owner, Request& request) noexcept;

  ThreadPool(unsigned size, void* owner, Done done) : shared_(std::make_unique<Shared>()), size_(size) {
    shared_->owner = owner;
    shared_->done = done;
  }
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// The queue is empty by now.
  ~ThreadPool() {
    if (generation_ != process_generation()) {
      // A forked child has the state, perhaps locked, but none of the threads: there is nobody to join.
      static_cast<void>(shared_.release());
      return;
    }
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->stopping = true;
    }
    shared_->wake.notify_all();
    for (std::thread& thread : shared_->threads) thread.join();
  }

  /// Queues `count` requests under one lock. Where not one thread can be had, they are executed here.
  void push(RequestList& requests, std::size_t count) {
    std::size_t wakeups = 0;
    std::size_t missing = 0;
    {
      const std::lock_guard lock(shared_->mutex);
      shared_->queue.append(requests);
      wakeups = std::min(count, shared_->sleeping - shared_->wakeups);
      shared_->wakeups += wakeups;
      missing = count - wakeups;
    }
    for (std::size_t i = 0; i < wakeups; ++i) shared_->wake.notify_one();
    while (missing-- > 0 && shared_->threads.size() < size_ && start_thread()) {
    }
    if (shared_->threads.empty()) work(*shared_, false);
  }

  /// Takes back a request that no thread has begun. False: it runs, or has run.
  bool take_back(Request& request) noexcept {
    const std::lock_guard lock(shared_->mutex);
    if (!request.linked()) return false;
    request.unlink();
    return true;
  }

  [[nodiscard]] std::size_t threads() const noexcept { return shared_->threads.size(); }

 private:
  struct Shared {
    std::mutex mutex;
    std::condition_variable wake;
    RequestList queue;
    std::size_t sleeping = 0;
    std::size_t wakeups = 0;  // of sleeping threads that were notified and have not woken yet
    bool stopping = false;
    void* owner = nullptr;
    Done done = nullptr;
    std::vector<std::thread> threads;  // of the context's thread only
  };

  static void work(Shared& shared, bool stay) noexcept {
    std::unique_lock lock(shared.mutex);
    for (;;) {
      if (shared.queue.empty()) {
        if (!stay || shared.stopping) return;
        ++shared.sleeping;
        shared.wake.wait(lock, [&] { return shared.wakeups > 0 || shared.stopping; });
        --shared.sleeping;
        if (shared.wakeups > 0) --shared.wakeups;
        continue;
      }
      Request& request = shared.queue.pop_front();
      lock.unlock();
      execute(request);
      shared.done(shared.owner, request);
      lock.lock();
    }
  }

  bool start_thread() {
    // Signals are the program's business, on the program's threads; and a blocked SIGXFSZ leaves EFBIG to be read. But
    // two are as the program has them: who blocks SIGTTIN is not stopped as a background job, but gets EIO (read(2)).
    ::sigset_t before;
    ::pthread_sigmask(SIG_SETMASK, nullptr, &before);
    ::sigset_t blocked;
    ::sigfillset(&blocked);
    for (const int each : {SIGTTIN, SIGTTOU}) {
      if (::sigismember(&before, each) == 0) ::sigdelset(&blocked, each);
    }
    ::pthread_sigmask(SIG_SETMASK, &blocked, nullptr);
    bool started = true;
    try {
      shared_->threads.reserve(size_);
      shared_->threads.emplace_back([shared = shared_.get()] {
        ::pthread_setname_np(::pthread_self(), "caio-pool");
        work(*shared, true);
      });
    } catch (const std::exception&) {
      started = false;  // EAGAIN (RLIMIT_NPROC) or no memory: fewer threads do the work
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return started;
  }

  std::unique_ptr<Shared> shared_;
  unsigned size_;
  unsigned generation_ = process_generation();
};

}  // namespace caio::inline CAIO_ABI::detail
