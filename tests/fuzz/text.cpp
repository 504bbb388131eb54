// Fuzz target: the fast ways through UTF-8 against a plain decoder, in one go and in pieces.
#include <aiofile/text.hpp>
#include <algorithm>
#include <string>
#include <string_view>

#include "fuzz.hpp"

namespace {

void check(std::string_view text, std::size_t count, std::size_t limit, std::size_t piece) {
  const std::size_t size = fuzz::valid_prefix(text);
  const std::string_view valid = text.substr(0, size);
  const aiofile::Utf8Scan scan = aiofile::scan_utf8(text);
  fuzz::require(scan.valid == size, "scan_utf8: the longest valid prefix");
  fuzz::require(scan.truncated == fuzz::begins_character(std::string(text.substr(size))),
                "scan_utf8: what is truncated");

  std::size_t all = 0;
  for (std::size_t at = 0; at < size; at += fuzz::character(valid.substr(at))) ++all;
  fuzz::require(aiofile::count_code_points(valid) == all, "count_code_points");

  std::size_t found = 7;
  fuzz::require(aiofile::skip_code_points(valid, count, found) == fuzz::characters(valid, count), "skip_code_points");
  fuzz::require(found == 7 + std::min(all, count), "skip_code_points: found");

  std::size_t whole = fuzz::character(valid);
  while (whole < size && whole + fuzz::character(valid.substr(whole)) <= limit) {
    whole += fuzz::character(valid.substr(whole));
  }
  fuzz::require(aiofile::whole_characters(valid, limit) == whole, "whole_characters");

  std::size_t done = 0;
  for (std::size_t end = 0; end < text.size();) {
    end = std::min(end + piece, text.size());
    const aiofile::Utf8Scan part = aiofile::scan_utf8(text.substr(done, end - done));
    done += part.valid;
    if (done < end && !part.truncated) break;
  }
  fuzz::require(done == size, "scan_utf8: in pieces as in one go");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Source source(data, size);
  const std::size_t count = source.byte();
  const std::size_t limit = source.byte();
  const std::size_t piece = source.byte() + std::size_t{1};
  const std::string text(source.rest());  // its own memory: a read beyond the end is seen
  check(text, count, limit, piece);
  return 0;
}
