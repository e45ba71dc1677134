// File systems of a test's own, in its own view of what is mounted: SmallFileSystem, memory of a
// limited size, and FailingFileSystem, ext4 on a device that promises more than lies behind it, so
// that writing to it fails as on a dying disk. Only root may have them, and not in every container:
// a test that does not get one skips. However the test program ends, nothing stays mounted and no
// loop device in use.
#pragma once

#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "tests/support/broker_process.h"

namespace waybill {

/// A file system of this thread's own, and of the processes it starts: gone with the test program.
class SmallFileSystem {
 public:
  explicit SmallFileSystem(std::size_t mebibytes) {
    mounted_ = unshare(CLONE_NEWNS) == 0 &&
               mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               mount("none", path().c_str(), "tmpfs", 0, size(mebibytes).c_str()) == 0;
  }
  ~SmallFileSystem() {
    if (mounted_) umount2(path().c_str(), MNT_DETACH);
  }
  SmallFileSystem(const SmallFileSystem&) = delete;
  SmallFileSystem& operator=(const SmallFileSystem&) = delete;
  [[nodiscard]] bool mounted() const { return mounted_; }
  [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }
  /// With all that is in it.
  bool resize(std::size_t mebibytes) {
    return mount("none", path().c_str(), "tmpfs", MS_REMOUNT, size(mebibytes).c_str()) == 0;
  }

 private:
  static std::string size(std::size_t mebibytes) {
    return "size=" + std::to_string(mebibytes) + "m";
  }

  TempDirectory directory_;
  bool mounted_ = false;
};

/// ext4 in a file of `promised` mebibytes that lies in memory of `there` mebibytes. Once that is
/// full, writing what was never written fails (with EIO, or ENOSPC on newer kernels); what was
/// written stays.
class FailingFileSystem {
 public:
  struct Size {
    std::size_t promised;
    std::size_t there;
  };

  explicit FailingFileSystem(Size size) : below_(size.there) {
    if (!below_.mounted()) {
      why_not_ = "file systems can only be mounted by root, and not in every container";
    } else if (!std::filesystem::exists("/dev/loop-control")) {
      why_not_ = "there are no loop devices here";
    } else if (!make(size.promised)) {
      why_not_ = "there is no mkfs.ext4 here (package e2fsprogs)";
    } else if (!mount_again()) {
      why_not_ = "a loop device cannot be mounted here: " + std::string(std::strerror(errno));
    }
  }
  ~FailingFileSystem() {
    if (mounted_) umount2(path().c_str(), MNT_DETACH);
  }
  FailingFileSystem(const FailingFileSystem&) = delete;
  FailingFileSystem& operator=(const FailingFileSystem&) = delete;
  /// Why there is none; empty: there is.
  [[nodiscard]] const std::string& why_not() const { return why_not_; }
  [[nodiscard]] const std::filesystem::path& path() const { return directory_.path(); }

  /// It gives up as a whole, as when its own tables cannot be written: all fails with EIO.
  bool shut_down() const {
    constexpr unsigned long kShutDown = _IOR('X', 125, __u32);  // EXT4_IOC_SHUTDOWN
    __u32 without_flushing_its_journal = 2;
    const int directory = open(path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    const bool down = ioctl(directory, kShutDown, &without_flushing_its_journal) == 0;
    close(directory);
    return down;
  }
  /// False if somebody has a file open there for long: the kernel closes those of an io_uring a
  /// moment after its process ended.
  bool unmount() {
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (mounted_ && std::chrono::steady_clock::now() < limit) {
      if (umount2(path().c_str(), 0) == 0) mounted_ = false;
      if (mounted_) std::this_thread::yield();
    }
    return !mounted_;
  }
  /// Somebody looks after the device while it is not mounted: `there` mebibytes, and checked.
  bool repair(std::size_t there) {
    if (!below_.resize(there)) return false;
    const int code = command("e2fsck -fy '" + image().string() + "'");
    return code == 0 || code == 1;  // nothing to correct; corrected
  }
  bool mount_again() {
    int loop = attached();
    if (loop < 0) return false;
    mounted_ = mount(device_.c_str(), path().c_str(), "ext4", 0, nullptr) == 0;
    const int error = errno;
    close(loop);  // what is mounted holds it
    errno = error;
    return mounted_;
  }

 private:
  [[nodiscard]] std::filesystem::path image() const { return below_.path() / "image"; }
  /// Its exit code.
  static int command(const std::string& words) {
    const int status =
        std::system(("PATH=/usr/sbin:/sbin:$PATH; " + words + " >/dev/null").c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  /// Its own tables and journal are written now: only what is stored in it later fails.
  bool make(std::size_t mebibytes) {
    return command(
               "mkfs.ext4 -q -F -N 4096 -J size=4"
               " -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 '" +
               image().string() + "' " + std::to_string(mebibytes) + "M") == 0;
  }
  /// A loop device that shows the image and lets go of it with its last user; -1: there is none.
  int attached() {
    const int image_file = open(image().c_str(), O_RDWR | O_CLOEXEC);
    const int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    loop_config config{};
    config.fd = static_cast<__u32>(image_file);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    int loop = -1;
    // Somebody else may take the one that was free.
    for (int i = 0; i < 20 && loop < 0; ++i) {
      const int number = ioctl(control, LOOP_CTL_GET_FREE);
      if (number < 0) break;
      device_ = "/dev/loop" + std::to_string(number);
      loop = open(device_.c_str(), O_RDWR | O_CLOEXEC);
      if (loop < 0) break;
      if (ioctl(loop, LOOP_CONFIGURE, &config) == 0) break;
      const int error = errno;
      close(loop);
      loop = -1;
      errno = error;
      if (error != EBUSY) break;
    }
    const int error = errno;
    close(control);
    close(image_file);
    errno = error;
    return loop;
  }

  SmallFileSystem below_;
  TempDirectory directory_;
  std::string device_;
  std::string why_not_;
  bool mounted_ = false;
};

}  // namespace waybill
