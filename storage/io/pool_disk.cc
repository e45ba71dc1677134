#include "storage/io/pool_disk.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

namespace waybill {

struct PoolDisk::Operation {
  enum class Kind : std::uint8_t { kWrite, kRead, kSync, kSyncDirectory, kRemove };
  Kind kind{};
  std::shared_ptr<OpenFile> file;  ///< of kRemove: none
  Removal removal;
  std::uint64_t position = 0;
  Bytes data;
  MutableBytes buffer;
  bool durable = false;
  Completion completion;
  Result<std::size_t> result = std::size_t{0};

  void run();

 private:
  Result<std::size_t> write_data();
  Result<std::size_t> read_data();
  void remove_file();
};

Result<std::size_t> PoolDisk::Operation::write_data() {
  iovec vector{.iov_base = const_cast<std::byte*>(data.data()), .iov_len = data.size()};
  const int fd = file->descriptor.get();
  const int flags = durable && file->direct ? RWF_DSYNC : 0;
  ssize_t done = 0;
  do {
    done = ::pwritev2(fd, &vector, 1, static_cast<off_t>(position), flags);
  } while (done < 0 && errno == EINTR);
  if (done < 0) return os_error(errno, "disk write");
  if (durable && flags == 0 && ::fdatasync(fd) != 0) return os_error(errno, "disk write, sync");
  return static_cast<std::size_t>(done);
}

Result<std::size_t> PoolDisk::Operation::read_data() {
  ssize_t done = 0;
  do {
    done =
        ::pread(file->descriptor.get(), buffer.data(), buffer.size(), static_cast<off_t>(position));
  } while (done < 0 && errno == EINTR);
  if (done < 0) return os_error(errno, "disk read");
  return static_cast<std::size_t>(done);
}

void PoolDisk::Operation::remove_file() {
  if (::unlinkat(removal.root, removal.path.c_str(), 0) != 0) {
    result = os_error(errno, "disk remove");
    return;
  }
  while (removal.next()) {
    // A file system without holes takes it back with the descriptor.
    if (::fallocate(removal.file.get(), Removal::kGiveBack, static_cast<off_t>(removal.left),
                    static_cast<off_t>(Removal::kPiece)) != 0)
      break;
  }
  removal.file = {};
}

void PoolDisk::Operation::run() {
  switch (kind) {
    case Kind::kWrite:
      result = write_data();
      return;
    case Kind::kRead:
      result = read_data();
      return;
    case Kind::kSync:
      if (::fdatasync(file->descriptor.get()) != 0) result = os_error(errno, "disk sync");
      return;
    case Kind::kSyncDirectory:
      if (!result) return;  // it could not be opened
      if (::fsync(file->descriptor.get()) != 0) result = os_error(errno, "disk sync_directory");
      return;
    case Kind::kRemove:
      if (result) remove_file();
      return;
  }
}

/// The threads, and the two lists they share with the owner.
class PoolDisk::Pool {
 public:
  using Operations = std::vector<std::unique_ptr<Operation>>;

  Pool(Descriptor event, Descriptor lock, unsigned threads)
      : event_(std::move(event)), lock_(std::move(lock)) {
    // Signals are for the program's own threads.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { work(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }

  /// Finishes what was handed over.
  ~Pool() {
    {
      std::lock_guard guard(mutex_);
      stopping_ = true;
    }
    work_to_do_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void hand_over(Operations& operations) {
    if (operations.empty()) return;
    {
      std::lock_guard guard(mutex_);
      for (auto& operation : operations) todo_.push_back(std::move(operation));
    }
    operations.clear();
    work_to_do_.notify_all();
  }

  Operations take_done() {
    std::lock_guard guard(mutex_);
    return std::exchange(done_, {});
  }

  Operations wait_done() {
    std::unique_lock guard(mutex_);
    something_done_.wait(guard, [this] { return !done_.empty(); });
    return std::exchange(done_, {});
  }

  [[nodiscard]] int event_fd() const { return event_.get(); }
  [[nodiscard]] std::size_t threads() const { return threads_.size(); }

 private:
  void work() {
    pthread_setname_np(pthread_self(), "wb-disk");
    std::unique_lock guard(mutex_);
    while (true) {
      work_to_do_.wait(guard, [this] { return stopping_ || !todo_.empty(); });
      if (todo_.empty()) return;
      std::unique_ptr<Operation> operation = std::move(todo_.front());
      todo_.pop_front();
      guard.unlock();
      operation->run();
      guard.lock();
      done_.push_back(std::move(operation));
      if (done_.size() == 1) announce();
    }
  }

  /// With the mutex held, so that the owner cannot be gone.
  void announce() {
    something_done_.notify_one();
    const std::uint64_t one = 1;
    // Fails only when the counter is full, and then it is readable anyway.
    [[maybe_unused]] ssize_t put = ::write(event_.get(), &one, sizeof one);
  }

  Descriptor event_;
  /// A process's descriptors live until its last thread is gone, and a thread with a write in
  /// flight is not gone: so the lock outlives every write, even of a killed process (S6).
  Descriptor lock_;
  std::mutex mutex_;
  std::condition_variable work_to_do_;
  std::condition_variable something_done_;
  std::deque<std::unique_ptr<Operation>> todo_;
  Operations done_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

Result<std::unique_ptr<PoolDisk>> PoolDisk::open(const std::string& path,
                                                 const PosixDiskOptions& options) {
  Result<Root> root = open_root(path, options.direct);
  if (!root) return root.error();
  Descriptor event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return os_error(errno, "eventfd");
  Descriptor lock;
  if (options.lock_fd >= 0) {
    lock = Descriptor(::fcntl(options.lock_fd, F_DUPFD_CLOEXEC, 0));
    if (!lock.valid()) return os_error(errno, "dup of the lock");
  }
  auto pool = std::make_unique<Pool>(std::move(event), std::move(lock), options.threads);
  return std::unique_ptr<PoolDisk>(new PoolDisk(std::move(*root), std::move(pool)));
}

PoolDisk::PoolDisk(Root root, std::unique_ptr<Pool> pool)
    : PosixDisk(std::move(root)), pool_(std::move(pool)) {}

PoolDisk::~PoolDisk() = default;

void PoolDisk::enqueue(std::unique_ptr<Operation> operation, std::shared_ptr<OpenFile> opened,
                       Completion completion) {
  operation->file = std::move(opened);
  operation->completion = std::move(completion);
  queued_.push_back(std::move(operation));
  ++pending_;
}

void PoolDisk::write(FileHandle handle, std::uint64_t position, Bytes data, Durability durability,
                     Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kWrite;
  operation->position = position;
  operation->data = data;
  operation->durable = durability == Durability::kDurable;
  enqueue(std::move(operation), file(handle), std::move(completion));
}

void PoolDisk::read(FileHandle handle, std::uint64_t position, MutableBytes buffer,
                    Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kRead;
  operation->position = position;
  operation->buffer = buffer;
  enqueue(std::move(operation), file(handle), std::move(completion));
}

void PoolDisk::sync(FileHandle handle, Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kSync;
  enqueue(std::move(operation), file(handle), std::move(completion));
}

void PoolDisk::sync_directory(std::string_view path, Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kSyncDirectory;
  auto directory = std::make_shared<OpenFile>();
  Result<Descriptor> opened = open_directory(path, "disk sync_directory");
  if (opened) {
    directory->descriptor = std::move(*opened);
  } else {
    operation->result = opened.error();
  }
  enqueue(std::move(operation), std::move(directory), std::move(completion));
}

void PoolDisk::remove(std::string_view path, Completion completion) {
  auto operation = std::make_unique<Operation>();
  operation->kind = Operation::Kind::kRemove;
  Result<Removal> removal = begin_removal(path);
  if (removal) {
    operation->removal = std::move(*removal);
  } else {
    operation->result = removal.error();
  }
  enqueue(std::move(operation), nullptr, std::move(completion));
}

void PoolDisk::submit() {
  pool_->hand_over(queued_);
}

std::size_t PoolDisk::finish(std::vector<std::unique_ptr<Operation>> done) {
  for (auto& finished : done) {
    const std::unique_ptr<Operation> operation = std::move(finished);
    --pending_;
    operation->completion(std::move(operation->result));
  }
  return done.size();
}

std::size_t PoolDisk::reap() {
  return finish(pool_->take_done());
}

std::size_t PoolDisk::pending() const {
  return pending_;
}

std::size_t PoolDisk::wait() {
  WB_ASSERT(pending_ > 0, "there is something to wait for");
  submit();
  return finish(pool_->wait_done());
}

int PoolDisk::completion_fd() const {
  return pool_->event_fd();
}

std::string PoolDisk::engine() const {
  return "thread pool (" + std::to_string(pool_->threads()) + " threads)";
}

std::string PoolDisk::sync_method() const {
  return direct() ? "RWF_DSYNC" : "fdatasync";
}

}  // namespace waybill
