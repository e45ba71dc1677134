// Goal: an application needs C++20 and Boost to use the client, nothing of what we use inside.
// Method: this compiler checks the public headers as C++20, and the list of files it read is
// searched for the headers of protobuf, fmt and spdlog.

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace waybill {
namespace {

TEST(PublicHeaders, CompileAsCxx20WithoutOurDependencies) {
  auto folder =
      std::filesystem::temp_directory_path() / ("waybill-headers-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  std::ofstream(folder / "use.cc") << "#include \"client/blocking_client.h\"\n"
                                      "#include \"client/process.h\"\n"
                                      "int main() { return 0; }\n";
  std::string command = "c++ -std=c++20 -pedantic-errors -fsyntax-only -I" WAYBILL_SOURCE_DIR
                        " -MD -MF " +
                        (folder / "files").string() + " " + (folder / "use.cc").string();
  EXPECT_EQ(std::system(command.c_str()), 0);
  std::ifstream list(folder / "files");
  std::string files{std::istreambuf_iterator<char>(list), {}};
  EXPECT_NE(files.find("client/client.h"), std::string::npos);
  for (std::string foreign : {"google/protobuf", "/fmt/", "spdlog", "waybill.pb.h"}) {
    EXPECT_EQ(files.find(foreign), std::string::npos) << foreign;
  }
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace waybill
