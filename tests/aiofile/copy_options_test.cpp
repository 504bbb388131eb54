#include <aiofile/copy_options.hpp>

#include <cstddef>
#include <stdexcept>
#include <type_traits>

#include "support/catch.hpp"

using aiofile::CopyMethod;
using aiofile::CopyOptions;
using aiofile::CopyTreeOptions;
using aiofile::detail::checked;

static_assert(std::is_trivially_copyable_v<CopyOptions> && std::is_trivially_destructible_v<CopyOptions>);
static_assert(std::is_trivially_copyable_v<CopyTreeOptions> && std::is_trivially_destructible_v<CopyTreeOptions>);

TEST_CASE("CopyOptions: by default a copy replaces what is there, keeps holes, and leaves nothing after a failure") {
  const CopyOptions options;
  CHECK(options.overwrite);
  CHECK_FALSE(options.keep_partial);
  CHECK(options.sparse);
  CHECK_FALSE(options.preserve_permissions);
  CHECK_FALSE(options.preserve_times);
  CHECK(options.method == CopyMethod::automatic);
  CHECK(options.buffer_size == 512 * 1024);
  CHECK_FALSE(options.progress);
  CHECK(&checked(options) == &options);
}

TEST_CASE("CopyTreeOptions: by default links are copied as links, into new directories, four files at a time") {
  const CopyTreeOptions options;
  CHECK_FALSE(options.follow_links);
  CHECK_FALSE(options.directories_exist);
  CHECK(options.parallel == 4);
  CHECK_FALSE(options.on_error);
  CHECK(&checked(options) == &options);
}

TEST_CASE("CopyOptions: a buffer has 1 byte to 1 GiB") {
  constexpr std::size_t most = std::size_t{1} << 30;
  for (const std::size_t size : {std::size_t{1}, most}) {
    CHECK_NOTHROW(checked(CopyOptions{.buffer_size = size}));
    CHECK_NOTHROW(checked(CopyTreeOptions{.files = {.buffer_size = size}}));
  }
  for (const std::size_t size : {std::size_t{0}, most + 1, ~std::size_t{0}}) {
    CHECK_THROWS_AS(checked(CopyOptions{.buffer_size = size}), std::invalid_argument);
    CHECK_THROWS_AS(checked(CopyTreeOptions{.files = {.buffer_size = size}}), std::invalid_argument);
  }
}

TEST_CASE("CopyTreeOptions: 1 to 64 files are copied at the same time") {
  for (const unsigned parallel : {1U, 64U}) CHECK_NOTHROW(checked(CopyTreeOptions{.parallel = parallel}));
  for (const unsigned parallel : {0U, 65U, ~0U}) {
    CHECK_THROWS_AS(checked(CopyTreeOptions{.parallel = parallel}), std::invalid_argument);
  }
}
