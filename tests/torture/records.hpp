#pragma once
// Records that tell whether they are whole, and the check of what is left of those that were acknowledged.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <string_view>

#include "torture/torture.hpp"

namespace torture {

struct RecordHeader {
  std::uint32_t magic;
  std::uint32_t number;
  std::uint32_t length;
  std::uint32_t checksum;
};

inline constexpr std::uint32_t record_magic = 0xC0FFEE42;

/// FNV-1a of the number, the length and the payload.
inline std::uint32_t checksum(const RecordHeader& header, std::string_view payload) {
  std::uint32_t sum = 2166136261U ^ header.number ^ (header.length << 16);
  for (const char c : payload) sum = (sum ^ static_cast<unsigned char>(c)) * 16777619U;
  return sum;
}

inline std::string record(std::uint64_t seed, std::uint32_t number) {
  std::mt19937_64 random(seed * 1000003 + number);
  std::string payload(128 + random() % 3000, '\0');
  for (char& c : payload) c = static_cast<char>(random());
  RecordHeader header{record_magic, number, static_cast<std::uint32_t>(payload.size()), 0};
  header.checksum = checksum(header, payload);
  return std::string(reinterpret_cast<const char*>(&header), sizeof header) + payload;
}

inline std::string content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// What a file begins with: records that are whole and in order.
struct WholeRecords {
  std::uint64_t count = 0;
  bool torn = false;  ///< something else follows
};

inline WholeRecords whole_records(const std::filesystem::path& path) {
  const std::string bytes = content_of(path);
  std::string_view rest = bytes;
  std::uint32_t number = 0;
  for (RecordHeader header; rest.size() >= sizeof header; ++number) {
    std::memcpy(&header, rest.data(), sizeof header);
    const std::string_view payload = rest.substr(sizeof header);
    if (header.magic != record_magic || header.number != number || header.length > payload.size()) break;
    if (checksum(header, payload.substr(0, header.length)) != header.checksum) break;
    rest = payload.substr(header.length);
  }
  return {number, !rest.empty()};
}

/// Compares files with what was acknowledged, and sums up.
class Audit {
 public:
  explicit Audit(Program& program) : program_(program) {}

  /// `at_once`: what there is has to be a multiple of so many records, and nothing else; 0: its end may be torn.
  void check(const std::filesystem::path& path, std::uint64_t acknowledged, const std::string& when,
             std::uint64_t at_once = 0) {
    const auto [whole, torn] = whole_records(path);
    ++rounds_;
    const bool mixed = at_once != 0 && (torn || whole % at_once != 0);
    if (mixed) program_.violation(when + ": a mix of the old and the new");
    acknowledged_ += acknowledged;
    whole_ += whole;
    if (mixed || whole < acknowledged) ++losing_rounds_;
    if (whole >= acknowledged) return;
    lost_ += acknowledged - whole;
    program_.violation(when + ": " + std::to_string(acknowledged) + " records acknowledged, only " +
                       std::to_string(whole) + " are whole");
  }

  /// The exit status. A control has to lose in 95% of its rounds: else it is none.
  int finish(const std::string& rounds) {
    program_.figure(rounds, rounds_);
    program_.figure("acknowledged", acknowledged_);
    program_.figure("whole", whole_);
    program_.figure("lost", lost_);
    if (acknowledged_ == 0) program_.violation("nothing was acknowledged");
    const int status = program_.finish();
    return !program_.control.empty() && losing_rounds_ * 20 < rounds_ * 19 ? 0 : status;
  }

 private:
  Program& program_;
  std::uint64_t rounds_ = 0;
  std::uint64_t losing_rounds_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t whole_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace torture
