#include "tests/support/broker_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

namespace waybill {
namespace {

/// tests/<program> and bin/waybilld are in one build directory.
std::filesystem::path built_waybilld() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path().parent_path() / "bin" /
         "waybilld";
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The number after `"key": ` in the ready file.
std::uint16_t number_after(const std::string& json, const std::string& key) {
  std::size_t at = json.find("\"" + key + "\": ");
  if (at == std::string::npos) return 0;
  return static_cast<std::uint16_t>(std::stoi(json.substr(at + key.size() + 4)));
}

int pidfd_open(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

}  // namespace

TempDirectory::TempDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "waybill-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) ADD_FAILURE() << "no temporary directory " << pattern;
  path_ = pattern;
}

TempDirectory::~TempDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

BrokerProcess::BrokerProcess(Options options) : options_(std::move(options)) {
  if (options_.program.empty()) options_.program = built_waybilld();
}

BrokerProcess::~BrokerProcess() {
  kill();
}

bool BrokerProcess::spawn() {
  std::string ready = (own_.path() / "ready.json").string();
  std::filesystem::remove(ready);
  std::vector<std::string> words{options_.program.string(),
                                 "--data",
                                 options_.data_directory.string(),
                                 "--listen",
                                 options_.keep_port ? address() : "127.0.0.1:0",
                                 "--http",
                                 "127.0.0.1:0",
                                 "--ready-file",
                                 ready};
  words.insert(words.end(), options_.arguments.begin(), options_.arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::string log_path = (own_.path() / "log").string();

  pid_ = fork();
  if (pid_ < 0) return false;
  if (pid_ > 0) return true;
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  int log = ::open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  dup2(log, STDERR_FILENO);
  dup2(log, STDOUT_FILENO);
  execv(argv[0], argv.data());
  _exit(127);
}

bool BrokerProcess::wait_until_ready() {
  int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  inotify_add_watch(watch, own_.path().c_str(), IN_MOVED_TO);
  int process = pidfd_open(pid_);
  std::filesystem::path ready = own_.path() / "ready.json";
  auto deadline = std::chrono::steady_clock::now() + options_.patience;
  bool up = std::filesystem::exists(ready);
  while (!up) {
    auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    std::array<pollfd, 2> fds{{{watch, POLLIN, 0}, {process, POLLIN, 0}}};
    if (left.count() <= 0 || poll(fds.data(), fds.size(), static_cast<int>(left.count())) <= 0) {
      break;
    }
    up = std::filesystem::exists(ready);
    if (fds[1].revents != 0) break;
    std::array<char, 4096> events{};
    if (read(watch, events.data(), events.size()) < 0) continue;
  }
  ::close(watch);
  ::close(process);
  if (!up) return false;
  std::string json = read_text(ready);
  port_ = number_after(json, "port");
  http_port_ = number_after(json, "http_port");
  return port_ != 0;
}

bool BrokerProcess::start() {
  if (running()) {
    ADD_FAILURE() << "the broker runs already";
    return false;
  }
  if (spawn() && wait_until_ready()) return true;
  kill();
  ADD_FAILURE() << "waybilld (" << options_.program << ") did not come up:\n" << log();
  return false;
}

int BrokerProcess::start_and_fail() {
  if (!spawn()) return -1;
  if (int code = wait_until_ready() ? -1 : wait(); code >= 0) return code;
  kill();
  return -1;
}

int BrokerProcess::stop() {
  signal(SIGTERM);
  int code = wait();
  if (code < 0) {
    ADD_FAILURE() << "waybilld did not stop:\n" << log();
    kill();
  }
  return code;
}

void BrokerProcess::kill() {
  if (!running()) return;
  signal(SIGKILL);
  wait();
}

void BrokerProcess::signal(int number) {
  if (running()) ::kill(pid_, number);
}

int BrokerProcess::wait() {
  if (!running()) return -1;
  int process = pidfd_open(pid_);
  pollfd ended{process, POLLIN, 0};
  auto patience = std::chrono::duration_cast<std::chrono::milliseconds>(options_.patience);
  int count = poll(&ended, 1, static_cast<int>(patience.count()));
  ::close(process);
  if (count <= 0) return -1;
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string BrokerProcess::log() const {
  return read_text(own_.path() / "log");
}

}  // namespace waybill
