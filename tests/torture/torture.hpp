#pragma once
// What every torture program understands (--backend, --seed, --directory, --control ...) and how it reports: one line
// of JSON on stdout; exit status 0: held, 1: a promise was broken, 2: wrong arguments, 77: cannot be tried here.

#include <sys/utsname.h>
#include <sys/vfs.h>

#include <CLI/CLI.hpp>
#include <caio/caio.hpp>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace torture {

/// The file system's name, as mount(8) spells it.
inline std::string filesystem_of(const std::filesystem::path& directory) {
  struct ::statfs status;
  if (::statfs(directory.c_str(), &status) != 0) return "?";
  switch (static_cast<unsigned long>(status.f_type)) {
    case 0xEF53: return "ext4";
    case 0x58465342: return "xfs";
    case 0x9123683E: return "btrfs";
    case 0x01021994: return "tmpfs";
    case 0x794c7630: return "overlay";
    case 0x65735546: return "fuse";
    case 0x00c0ffee: return "hostfs";
    default: return std::to_string(status.f_type);
  }
}

class Program {
 public:
  /// `tier`: of docs/torture.md, such as "T4a". `controls`: the names of the broken variants, which must fail.
  Program(std::string tier, std::string description, std::vector<std::string> controls = {})
      : app(std::move(description)), tier_(std::move(tier)) {
    app.add_option("--backend", backend, "uring, linux, thread or blocking; default: the preferred one");
    app.add_option("--seed", seed, "Of everything random")->capture_default_str();
    app.add_option("--directory", directory, "Where files are made")
        ->check(CLI::ExistingDirectory)
        ->capture_default_str();
    app.add_flag("!--no-speculation", speculate, "Nothing is done in place");
    if (!controls.empty()) {
      app.add_option("--control", control, "A deliberately broken variant: has to fail")
          ->check(CLI::IsMember(controls));
    }
  }

  CLI::App app;  ///< for options of the program's own, before parse()
  std::string backend;
  std::uint64_t seed = 1;
  std::filesystem::path directory = ".";
  std::string control;
  bool speculate = true;

  /// Leaves the program where the arguments are wrong, or ask for help, or name a backend that is not here.
  void parse(int argc, char** argv) {
    try {
      app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
      std::exit(app.exit(error) == 0 ? 0 : 2);
    }
    if (backend.empty()) backend = name(caio::preferred());
    for (const auto each : {caio::Implementation::uring, caio::Implementation::linux_aio, caio::Implementation::thread,
                            caio::Implementation::blocking}) {
      if (name(each) == backend) implementation_ = each;
    }
    if (name(implementation_) != backend) {
      std::fprintf(stderr, "no such backend: %s\n", backend.c_str());
      std::exit(2);
    }
    if (const std::string why = caio::why_unavailable(implementation_); !why.empty()) skip(why);
  }

  [[nodiscard]] caio::Implementation implementation() const { return implementation_; }

  /// One more figure of the report.
  template <class Number>
  void figure(const std::string& title, Number value) {
    figures_ += ", \"" + title + "\": " + std::to_string(value);
  }
  /// A promise was broken. The first few are described on stderr, with what replays them.
  void violation(const std::string& what) {
    if (++violations_ <= 10) std::fprintf(stderr, "VIOLATION (seed %lu): %s\n", seed, what.c_str());
  }
  [[nodiscard]] std::uint64_t violations() const { return violations_; }

  [[noreturn]] void skip(const std::string& reason) {
    print(", \"skipped\": \"" + escaped(reason) + "\"");
    std::exit(77);
  }

  /// Prints the line; the program's exit status.
  int finish() {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start_;
    char duration[32];
    std::snprintf(duration, sizeof duration, "%.1f", seconds.count());
    print(figures_ + ", \"violations\": " + std::to_string(violations_) + ", \"seconds\": " + duration);
    return violations_ == 0 ? 0 : 1;
  }

 private:
  static std::string escaped(const std::string& text) {
    std::string result;
    for (const char c : text) {
      if (c == '"' || c == '\\') result += '\\';
      result += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
    return result;
  }

  void print(const std::string& rest) const {
    ::utsname kernel{};
    ::uname(&kernel);
    std::printf(
        "{\"tier\": \"%s\"%s, \"kernel\": \"%s\", \"file system\": \"%s\", \"backend\": \"%s\", \"seed\": %lu%s}\n",
        tier_.c_str(), control.empty() ? "" : (", \"control\": \"" + control + "\"").c_str(), kernel.release,
        filesystem_of(directory).c_str(), backend.c_str(), seed, rest.c_str());
    std::fflush(stdout);
  }

  std::string tier_;
  std::string figures_;
  std::uint64_t violations_ = 0;
  caio::Implementation implementation_ = caio::Implementation::blocking;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace torture
