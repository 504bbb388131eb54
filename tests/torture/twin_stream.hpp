#pragma once
// For twin.cpp: streams, with a model of their position.

#include "torture/twin_world.hpp"

namespace differential {

using aiofile::FileStream;

inline constexpr std::size_t largest_streamed = 300 * 1024;

/// A stream, or two on one descriptor, each with a position of its own. `extra_flags`: of the stream, not of its twin.
class Streamed final : public Episode {
 public:
  Streamed(World& shared, std::string_view mode, std::size_t buffering, int extra_flags)
      : Episode(shared, mode, 0), mode_(mode), buffering_(buffering), extra_flags_(extra_flags) {}

  Task<> open() override {
    aiofile::OpenOptions options;
    options.context = &world.context;
    options.buffering = buffering_;
    options.flags = extra_flags_;
    FileStream stream = co_await aiofile::async_open(world.ours, mode_, options);
    streams_.push_back(std::move(stream));
    positions_.push_back(appending ? size_of(twin) : 0);
    if (buffering_ > 0 || world.chance(2)) co_return;
    streams_.push_back(streams_.front().clone());
    positions_.push_back(0);
  }
  Task<> close() override {
    for (FileStream& stream : streams_) co_await stream.close();
  }

  Task<> step() override {
    const std::size_t chosen = world.below(streams_.size());
    stream_ = &streams_[chosen];
    position_ = &positions_[chosen];
    // Within the limit on sizes: what an error leaves in the file depends on what was gathered.
    if (size_of(twin) > largest_streamed && writable) {
      const std::uint64_t length = world.below(1000);
      const Outcome library = co_await outcome_of(stream_->truncate(length));
      world.same("truncate", library, plain_status(::ftruncate(twin, static_cast<::off_t>(length))));
    }
    if (*position_ > largest_streamed) seek(world.below(size_of(twin) + 1));
    co_await random_operation();
    if (stream_->tell() != *position_) {
      world.differs("tell() is " + std::to_string(stream_->tell()) + ", not " + std::to_string(*position_));
    }
    if (buffering_ == 0 && size_of(stream_->fileno()) != size_of(twin)) world.differs("the sizes of the files");
  }

 private:
  /// What comes next in the twin, and how reading it ends.
  Outcome ahead(std::size_t length) {
    Outcome wanted = read_plainly(twin, world.twin_memory.get(), length, *position_, true);
    if (wanted.error == 0) wanted.bytes.assign(world.twin_memory.get(), wanted.count);
    return wanted;
  }
  Outcome line_ahead(std::size_t most, std::string_view newline) {
    Outcome wanted = ahead(most);
    const std::size_t end = wanted.bytes.find(newline);
    if (end != std::string::npos) wanted.bytes.resize(end + newline.size());
    wanted.count = wanted.bytes.size();
    return wanted;
  }
  Outcome write_to_twin(std::string_view text) {
    Outcome wanted = write_plainly(twin, text.data(), text.size(), *position_, true);
    if (wanted.count > 0) *position_ = appending ? size_of(twin) : *position_ + wanted.count;
    return wanted;
  }
  bool taken(const std::string& what, const Outcome& library, const Outcome& wanted) {
    if (wanted.error == 0) *position_ += wanted.count;
    return world.same(what, library, wanted);
  }
  void seek(std::uint64_t offset) {
    stream_->seek(static_cast<std::int64_t>(offset));
    *position_ = offset;
  }

  Task<> random_operation() {
    const std::size_t length = world.length();
    const std::string_view text = world.text(std::min<std::size_t>(length, 64 * 1024));
    const auto size = static_cast<std::int64_t>(length);
    switch (world.below(18)) {
      case 0:
      case 1: {
        const bool all = world.chance(10);
        const Outcome library = co_await outcome_of(stream_->read(all ? -1 : size));
        taken("read", library, ahead(all ? room : length));
        break;
      }
      case 2: {
        const auto memory = std::as_writable_bytes(std::span(world.our_memory.get(), length));
        Outcome library = co_await outcome_of(stream_->read_into(memory));
        if (library.error == 0) library.bytes.assign(world.our_memory.get(), library.count);
        taken("read_into", library, ahead(length));
        break;
      }
      case 3:
      case 4: {
        const std::string_view newline = world.chance(4) ? "ab" : "\n";
        const bool limited = world.chance(4);
        const Outcome library = co_await outcome_of(stream_->readline(limited ? size : -1, newline));
        taken("readline", library, line_ahead(limited ? length : room, newline));
        break;
      }
      case 5: {
        const Outcome library = co_await outcome_of(stream_->peek(length % 20'000));
        world.same("peek", library, ahead(length % 20'000));
        break;
      }
      case 6:
        if (readable) co_await some_lines();
        break;
      case 7:
        if (readable) co_await some_chunks(length % 10'000 + 1);
        break;
      case 8:
      case 9: {
        const Outcome library = co_await outcome_of(stream_->write(text));
        world.same("write", library, write_to_twin(text));
        break;
      }
      case 10: {
        const Outcome library = co_await outcome_of(stream_->write(std::string(text)));
        world.same("write of a string", library, write_to_twin(text));
        break;
      }
      case 11: {
        const std::string_view first = text.substr(0, text.size() / 3);
        const std::string_view second = text.substr(text.size() / 3);
        auto [one, other] =
            co_await aiofile::gather(outcome_of(stream_->write(first)), outcome_of(stream_->write(second)));
        world.same("the first of two writes", one, write_to_twin(first));
        world.same("the second of two writes", other, write_to_twin(second));
        break;
      }
      case 12:
      case 13: {
        seek(world.below(size_of(twin) + 1000));
        ++world.operations;
        break;
      }
      case 14: {
        const bool from_end = world.chance(2);
        const std::uint64_t base = from_end ? size_of(twin) : *position_;
        const std::int64_t by = static_cast<std::int64_t>(world.below(2000)) - 1000;
        if (static_cast<std::int64_t>(base) + by < 0) break;
        const Outcome library =
            co_await outcome_of(stream_->seek(by, from_end ? aiofile::Whence::end : aiofile::Whence::current));
        Outcome wanted;
        wanted.count = *position_ = base + static_cast<std::uint64_t>(by);
        world.same("seek", library, wanted);
        break;
      }
      case 15: {
        const bool here = world.chance(2);
        const std::uint64_t end = here ? *position_ : world.below(size_of(twin) + 1000);
        Task<Outcome> truncating = here ? outcome_of(stream_->truncate()) : outcome_of(stream_->truncate(end));
        const Outcome library = co_await std::move(truncating);
        const Outcome wanted = plain_status(::ftruncate(twin, static_cast<::off_t>(end)));
        world.same("truncate", library, writable ? wanted : bad_descriptor());
        break;
      }
      case 16: {
        const Outcome library = co_await outcome_of(stream_->flush());
        world.same("flush", library, {});
        if (size_of(stream_->fileno()) != size_of(twin)) world.differs("the sizes after flush()");
        break;
      }
      default: {
        if (!world.chance(5)) break;
        const Outcome library = co_await outcome_of(stream_->fsync());
        world.same("fsync", library, plain_status(::fsync(twin)));
      }
    }
  }

  Task<> some_lines() {
    aiofile::LineReader lines = stream_->lines();
    for (std::size_t i = world.below(20); i > 0; --i) {
      const auto line = co_await lines.next();
      Outcome library;
      if (line) take(library, *line);
      if (!taken("a line", library, line_ahead(room, "\n")) || !line) co_return;
    }
    const auto batch = co_await lines.next_batch();
    for (const std::string_view line : batch) {
      Outcome library;
      take(library, line);
      if (!taken("a line of a batch", library, line_ahead(room, "\n"))) co_return;
    }
  }

  Task<> some_chunks(std::size_t size) {
    aiofile::Reader chunks = stream_->iter_chunked(size);
    for (std::size_t i = world.below(5); i > 0; --i) {
      const auto chunk = co_await chunks.next();
      Outcome library;
      if (chunk) take(library, *chunk);
      if (library.count > size) world.differs("a chunk longer than asked for");
      taken("a chunk", library, ahead(chunk ? library.count : 1));
      if (!chunk) co_return;
    }
  }

  std::string mode_;
  std::size_t buffering_;
  int extra_flags_;
  std::vector<FileStream> streams_;
  std::vector<std::uint64_t> positions_;
  FileStream* stream_ = nullptr;  // of this step, and its position
  std::uint64_t* position_ = nullptr;
};

}  // namespace differential
