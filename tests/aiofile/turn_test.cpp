// A stream's operation that gives up its place in the queue does not disturb the one whose turn it is.

#include <aiofile/async_open.hpp>
#include <aiofile/file.hpp>
#include <aiofile/stream.hpp>
#include <caio/task_group.hpp>
#include <cerrno>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "held_backend.hpp"
#include "outcome.hpp"
#include "support/catch.hpp"

using aiofile::AIOFile;
using aiofile::async_open;
using aiofile::FileStream;
using caio::Context;
using caio::Opcode;
using caio::Task;
using caio::TaskGroup;
using outcome::HeldBackend;
using outcome::store_error;

TEST_CASE("Turn: who is stopped in the queue does not end the sync before it, which waits for a write") {
  auto made = std::make_unique<HeldBackend>();
  HeldBackend& backend = *made;
  Context context(std::move(made));
  auto work = [](Context& own, HeldBackend& held) -> Task<> {
    FileStream stream = co_await async_open("file", "w+", {.context = &own});
    AIOFile file = stream.file().clone();
    int write_error = -1;
    int sync_error = -1;
    int stopped_error = -1;
    TaskGroup group;
    TaskGroup stopped;
    group.spawn(store_error(file.write("x", 0), write_error));
    group.spawn(store_error(stream.fsync(), sync_error));
    stopped.spawn(store_error(stream.write("y"), stopped_error));
    while (held.held.empty()) co_await own.schedule();
    stopped.request_stop();
    co_await stopped.join();
    CHECK(stopped_error == ECANCELED);
    for (int turn = 0; turn < 3; ++turn) co_await own.schedule();
    CHECK(sync_error == -1);
    CHECK(held.opcodes() == std::vector{Opcode::write});
    held.end_first(1);
    while (write_error < 0 || (sync_error < 0 && held.held.empty())) co_await own.schedule();
    CHECK(held.opcodes() == std::vector{Opcode::fsync});
    if (!held.held.empty()) held.end_first(-EROFS);
    co_await group.join();
    CHECK(write_error == 0);
    CHECK(sync_error == EROFS);
    co_await file.close();
    co_await stream.close();
  };
  context.run(work(context, backend));
}
