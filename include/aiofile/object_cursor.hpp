#pragma once
// A cursor over any file-like object.

#include <algorithm>
#include <cerrno>
#include <concepts>
#include <cstddef>
#include <exception>
#include <memory>
#include <span>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

#include <aiofile/concepts.hpp>
#include <aiofile/cursor.hpp>
#include <aiofile/device.hpp>
#include <aiofile/encoding.hpp>
#include <aiofile/error.hpp>
#include <aiofile/mode.hpp>
#include <aiofile/shared_file.hpp>
#include <caio/config.hpp>
#include <caio/context.hpp>
#include <caio/detail/child.hpp>
#include <caio/engine.hpp>
#include <caio/operation.hpp>
#include <caio/request.hpp>

namespace aiofile::inline CAIO_ABI {

class FileStream;

namespace detail {

inline const CursorRef& cursor_of(const FileStream& stream) noexcept;

/// Resumes on the context's thread whatever is asked for meanwhile; after the context's end, where it is.
class [[nodiscard]] Return final : public caio::OperationBase {
 public:
  explicit Return(caio::Engine& engine) noexcept : OperationBase(engine) { uncancellable = true; }
  void await_resume() const noexcept {}

 private:
  bool advance() noexcept override { return true; }
};

template <class Object>
class ObjectDevice final : public Device {
 public:
  explicit ObjectDevice(Object& object) noexcept : object_(&object) {}

 private:
  caio::detail::Child serve(caio::Engine& engine, caio::Request& request, std::exception_ptr& error) override {
    std::size_t moved = 0;
    int failure = 0;
    std::exception_ptr thrown;
    try {
      if (request.opcode == caio::Opcode::read) {
        if constexpr (AsyncReadable<Object>) {
          const std::size_t count =
              co_await object_->read_into({static_cast<std::byte*>(request.buffer), request.length});
          if (count > request.length) throw std::length_error("aiofile: a read_into() of more than was asked for");
          moved = count;
        }
      } else if constexpr (AsyncWritable<Object>) {
        if (request.opcode == caio::Opcode::write) {
          co_await object_->write(std::string_view(static_cast<const char*>(request.buffer), request.length));
          moved = request.length;
        } else {
          co_await object_->flush();
        }
      }
    } catch (const std::system_error& wrong) {
      failure = wrong.code() == std::errc::operation_canceled ? ECANCELED : EIO;
      thrown = std::current_exception();
      const auto* const of_file = dynamic_cast<const FileError*>(&wrong);
      if (of_file != nullptr && request.is_write()) moved = std::min(of_file->transferred(), request.length);
    } catch (...) {
      failure = EIO;
      thrown = std::current_exception();
    }
    // An object may resume whoever awaits it on a thread of its own.
    if (!engine.on_own_thread()) co_await Return(engine);
    request.moved = moved;
    request.result = -failure;
    error = std::move(thrown);
    if (request.stage == caio::Request::Stage::parked) engine.unpark(request, request.result);
  }

  Object* object_;
};

template <class Object>
CursorRef object_cursor(Object& object, std::string_view mode, std::size_t chunk, std::size_t buffering) {
  FileRef state(new FileState("<object>", parse_mode(mode), Encoding()));
  state->opened(caio::Context::current().engine(), caio::Descriptor(), true);
  state->file->own_position = true;
  auto cursor = std::make_shared<Cursor>(std::move(state), 0, chunk, buffering);
  cursor->device = std::make_unique<ObjectDevice<Object>>(object);
  return cursor;
}

/// A FileStream, or what is derived from it and has not put others in the place of its members that read, or write.
template <class Object, class Stream = FileStream>
concept ReadAsStream =
    std::derived_from<Object, Stream> && std::same_as<decltype(&Object::read_into), decltype(&Stream::read_into)>;
template <class Object, class Stream = FileStream>
concept WrittenAsStream = std::derived_from<Object, Stream> &&
    std::same_as<decltype(&Object::flush), decltype(&Stream::flush)> &&
    requires(decltype(std::declval<Stream&>().write(std::string_view())) (Stream::*write)(std::string_view)) {
  write = &Object::write;
};

/// A stream's own cursor; else a new one that reads the bytes of `object`, which outlives it.
template <class Object>
CursorRef reading_cursor(Object& object, std::size_t chunk) {
  if constexpr (ReadAsStream<Object>) {
    return cursor_of(object);
  } else {
    return object_cursor(object, "rb", chunk, 0);
  }
}
/// Likewise, to write.
template <class Object>
CursorRef writing_cursor(Object& object, std::size_t buffering) {
  if constexpr (WrittenAsStream<Object>) {
    return cursor_of(object);
  } else {
    return object_cursor(object, "wb", 0, buffering);
  }
}

}  // namespace detail

}  // namespace aiofile::inline CAIO_ABI
