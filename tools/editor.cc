#include "tools/editor.h"

#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include "tools/child_process.h"

namespace waybill::cli {
namespace {

Problem system_problem(std::string_view what) {
  return {fmt::format("{}: {}", what, std::strerror(errno))};
}

std::string from_environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

/// Removes the file when it goes: it holds somebody's data.
struct TemporaryFile {
  std::string path;
  ~TemporaryFile() {
    if (!path.empty()) ::unlink(path.c_str());
  }
};

}  // namespace

Checked<std::string> edit_text(std::string_view text, std::string_view ending) {
  std::string editor = from_environment("VISUAL");
  if (editor.empty()) editor = from_environment("EDITOR");
  if (editor.empty()) editor = "vi";
  std::string directory = from_environment("TMPDIR");
  TemporaryFile file{
      fmt::format("{}/waybill-XXXXXX{}", directory.empty() ? "/tmp" : directory, ending)};
  Descriptor opened(::mkstemps(file.path.data(), static_cast<int>(ending.size())));
  if (!opened.is_open()) {
    file.path.clear();
    return system_problem("cannot make a temporary file");
  }
  opened.close();
  if (!(std::ofstream(file.path, std::ios::binary) << text).flush()) {
    return system_problem("cannot write the temporary file");
  }
  // The path goes in as a variable of the shell, so that nothing in it needs quoting.
  ::setenv("WAYBILL_EDITED_FILE", file.path.c_str(), 1);
  int status = std::system((editor + " \"$WAYBILL_EDITED_FILE\"").c_str());
  ::unsetenv("WAYBILL_EDITED_FILE");
  if (status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Problem{fmt::format("the editor '{}' failed; nothing was changed", editor)};
  }
  std::ifstream edited(file.path, std::ios::binary);
  if (!edited) return system_problem("cannot read what was edited");
  return std::string(std::istreambuf_iterator<char>(edited), {});
}

}  // namespace waybill::cli
