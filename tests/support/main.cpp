#if AIOFILE_CATCH_MAJOR < 3
#define CATCH_CONFIG_RUNNER
#endif
#include <cstdio>

#include "support/catch.hpp"
#include "support/setups.hpp"

int main(int argc, char** argv) {
  const int failed = Catch::Session().run(argc, argv);
  for (const auto& [name, count] : support::runs()) std::printf("on %-24s %6zu runs\n", name.c_str(), count);
  return failed;
}
