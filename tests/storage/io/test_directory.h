// A fresh directory on a real file system, removed at the end, and memory that O_DIRECT accepts.
#pragma once

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>

#include "protocol/base/bytes.h"

namespace waybill {

class TestDirectory {
 public:
  /// In the build tree, or, if that belongs to somebody else, in /var/tmp: both are on a disk.
  TestDirectory() {
    for (const char* parent : {WAYBILL_BINARY_DIR, "/var/tmp"}) {
      std::string name = std::string(parent) + "/disk-test-XXXXXX";
      if (::mkdtemp(name.data()) == nullptr) continue;
      path_ = name;
      return;
    }
    WB_ASSERT(false, "a test needs a directory to write to");
  }
  explicit TestDirectory(const char* parent) {
    std::string name = std::string(parent) + "/disk-test-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  TestDirectory(const TestDirectory&) = delete;
  TestDirectory& operator=(const TestDirectory&) = delete;
  ~TestDirectory() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Blocks of 4096 bytes at an address that is a multiple of 4096.
class AlignedBlocks {
 public:
  explicit AlignedBlocks(std::size_t blocks, unsigned char fill = 0)
      : size_(blocks * 4096), memory_(static_cast<std::byte*>(std::aligned_alloc(4096, size_))) {
    std::memset(memory_.get(), fill, size_);
  }
  [[nodiscard]] MutableBytes bytes() { return {memory_.get(), size_}; }
  [[nodiscard]] Bytes view() const { return {memory_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::size_t size_;
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace waybill
