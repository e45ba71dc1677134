// NullDisk: accepts every write at once and keeps nothing, so that a benchmark measures the core
// and no device, real or simulated. What is read back is zeros: enough for a shard whose batches
// all stay in memory.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "storage/io/disk.h"

namespace waybill {

class NullDisk final : public Disk {
 public:
  void write(FileHandle, std::uint64_t, Bytes data, Durability, Completion completion) override {
    finished_.emplace_back(data.size(), std::move(completion));
  }
  void read(FileHandle, std::uint64_t, MutableBytes buffer, Completion completion) override {
    std::ranges::fill(buffer, std::byte{0});
    finished_.emplace_back(buffer.size(), std::move(completion));
  }
  void sync(FileHandle, Completion completion) override {
    finished_.emplace_back(0, std::move(completion));
  }
  void sync_directory(std::string_view, Completion completion) override {
    finished_.emplace_back(0, std::move(completion));
  }
  void remove(std::string_view path, Completion completion) override {
    ignore_error(remove(path), "it never fails");
    finished_.emplace_back(0, std::move(completion));
  }
  void submit() override {}
  std::size_t reap() override {
    std::size_t count = finished_.size();
    for (std::size_t i = 0; i < count; ++i) {
      auto [bytes, completion] = std::move(finished_.front());
      finished_.pop_front();
      completion(bytes);
    }
    return count;
  }
  [[nodiscard]] std::size_t pending() const override { return finished_.size(); }
  std::size_t wait() override { return reap(); }
  [[nodiscard]] int completion_fd() const override { return -1; }

  Result<FileHandle> open(std::string_view path, OpenMode mode) override {
    if (mode == OpenMode::kCreate) {
      sizes_[std::string(path)] = 0;
    } else if (!sizes_.contains(std::string(path))) {
      return Error{Errc::kNotFound, 0, "no such path"};
    }
    open_.push_back(std::string(path));
    return FileHandle{static_cast<std::int32_t>(open_.size() - 1)};
  }
  void close(FileHandle) override {}
  Result<std::uint64_t> size(FileHandle file) override { return sizes_[open_[at(file)]]; }
  Result<std::size_t> read_now(FileHandle, std::uint64_t, MutableBytes buffer) override {
    std::ranges::fill(buffer, std::byte{0});
    return buffer.size();
  }
  Result<void> write_now(FileHandle file, std::uint64_t position, Bytes data) override {
    std::uint64_t& size = sizes_[open_[at(file)]];
    size = std::max(size, position + data.size());
    return {};
  }
  Result<void> allocate(FileHandle, std::uint64_t) override { return {}; }
  Result<std::uint64_t> free_space() override { return UINT64_MAX; }
  Result<void> sync_now(FileHandle) override { return {}; }
  Result<void> sync_directory(std::string_view) override { return {}; }
  Result<void> rename(std::string_view from, std::string_view to) override {
    sizes_[std::string(to)] = sizes_[std::string(from)];
    sizes_.erase(std::string(from));
    for (std::string& path : open_) {
      if (path == from) path = to;
    }
    return {};
  }
  Result<void> remove(std::string_view path) override {
    sizes_.erase(std::string(path));
    return {};
  }
  Result<void> create_directory(std::string_view path) override { return make_directory(path); }
  Result<void> make_directory(std::string_view path) override {
    directories_.insert(std::string(path));
    return {};
  }
  Result<std::vector<std::string>> list(std::string_view path) override {
    if (!directories_.contains(std::string(path))) return Error{Errc::kNotFound, 0, "no such path"};
    std::vector<std::string> names;
    std::string prefix = std::string(path) + "/";
    for (const auto& [file, size] : sizes_) {
      if (file.starts_with(prefix)) names.push_back(file.substr(prefix.size()));
    }
    return names;
  }
  [[nodiscard]] std::string describe() const override { return "null"; }

 private:
  static std::size_t at(FileHandle file) { return static_cast<std::size_t>(file.value); }

  std::deque<std::pair<std::size_t, Completion>> finished_;
  std::map<std::string, std::uint64_t> sizes_;
  std::set<std::string> directories_;
  std::vector<std::string> open_;
};

}  // namespace waybill
