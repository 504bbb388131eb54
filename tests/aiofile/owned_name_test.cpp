#include <aiofile/owned_name.hpp>

#include <fcntl.h>

#include <caio/caio.hpp>
#include <cerrno>
#include <set>
#include <stop_token>
#include <string>
#include <utility>

#include "support/catch.hpp"
#include "support/child_process.hpp"
#include "support/setups.hpp"
#include "support/temporary.hpp"

using aiofile::detail::make_new;
using aiofile::detail::OwnedName;
using aiofile::detail::remove_name;
using caio::Context;
using caio::Task;
using caio::detail::UniqueFd;
using support::TemporaryDirectory;

TEST_CASE("make_new: new names of letters and digits until one is free") {
  std::set<std::string> names;
  int left = 100;
  const auto make = [&](const std::string& name) {
    CHECK(name.size() == 3 + 12 + 4);
    CHECK(name.starts_with("one"));
    CHECK(name.ends_with(".two"));
    CHECK(name.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567", 3) == 15);
    names.insert(name);
    return --left > 0 ? EEXIST : 0;
  };
  CHECK(make_new("one", ".two", make) == 0);
  CHECK(names.size() == 100);
}

TEST_CASE("make_new: gives up in the end, and at once at another error") {
  int calls = 0;
  const auto all_taken = [&calls](const std::string&) { return ++calls, EEXIST; };
  CHECK(make_new("", "", all_taken) == EEXIST);
  CHECK(calls >= 100);
  CHECK(calls < 1000);
  calls = 0;
  CHECK(make_new("", "", [&calls](const std::string&) { return ++calls, EACCES; }) == EACCES);
  CHECK(calls == 1);
}

TEST_CASE("OwnedName: its end removes the file, in the directory that was open, and lets go of that") {
  const TemporaryDirectory directory;
  const std::size_t before = support::open_files();
  for (const bool relative : {false, true}) {
    directory.file("file", "x");
    {
      OwnedName name;
      name.own(relative ? UniqueFd(::open(directory.path().c_str(), O_PATH | O_CLOEXEC)) : UniqueFd(),
               relative ? "file" : directory / "file");
    }
    CHECK_FALSE(std::filesystem::exists(directory / "file"));
  }
  CHECK(support::open_files() == before);
}

TEST_CASE("OwnedName: what was disowned or removed before is left alone, nothing is no error") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "x");
  { const OwnedName nothing; }
  {
    OwnedName name;
    name.own(UniqueFd(), path);
    CHECK_FALSE(name.disown());
  }
  CHECK(std::filesystem::exists(path));
  OwnedName name;
  name.own(UniqueFd(), path);
  CHECK(name.remove() == 0);
  CHECK_FALSE(std::filesystem::exists(path));
  directory.file("file", "another's");
  CHECK(name.remove() == 0);
  CHECK(std::filesystem::exists(path));
  OwnedName gone;
  gone.own(UniqueFd(), directory / "gone");
  CHECK(gone.remove() == 0);
  OwnedName wrong;
  wrong.own(UniqueFd(), directory.path());
  CHECK(wrong.remove() == EISDIR);
}

TEST_CASE("OwnedName: a forked child's copy removes nothing") {
  const TemporaryDirectory directory;
  const auto path = directory.file("file", "x");
  OwnedName name;
  name.own(UniqueFd(), path);
  const std::string answer = support::answer_in_child([&name] { return std::to_string(name.remove()); });
  CHECK(answer == "0");
  CHECK(std::filesystem::exists(path));
}

TEST_CASE("remove_name: on the pool, also when a stop was asked for or the context has ended") {
  const TemporaryDirectory directory;
  support::on_every_backend([&](Context& context) -> Task<> {
    const auto name = std::make_shared<OwnedName>();
    name->own(UniqueFd(), directory.file("file", "x"));
    CHECK_YIELDS(remove_name(context.engine(), name), 0);
    CHECK_FALSE(std::filesystem::exists(directory / "file"));
    name->own(UniqueFd(), directory.file("file", "x"));
    std::stop_source source;
    source.request_stop();
    CHECK_YIELDS(caio::with_stop(source.get_token(), remove_name(context.engine(), name)), 0);
    CHECK_FALSE(std::filesystem::exists(directory / "file"));
    name->own(UniqueFd(), directory.path());
    CHECK_YIELDS(remove_name(context.engine(), name), EISDIR);
  });
  std::shared_ptr<caio::Engine> ended = Context().engine();
  const auto name = std::make_shared<OwnedName>();
  name->own(UniqueFd(), directory.file("file", "x"));
  Context context;
  CHECK(context.run(remove_name(ended, name)) == 0);
  CHECK_FALSE(std::filesystem::exists(directory / "file"));
}
