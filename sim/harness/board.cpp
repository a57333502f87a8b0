// Runs a Verilated board top, and joins its serial line, bit by bit, to a pseudo-terminal.
//
//   board FD DIVISOR [FAULT]...
//
// FD is the open master side of the pseudo-terminal, DIVISOR the clock cycles a bit. A FAULT spoils
// one byte, counted from 0 in its direction: "i7x" flips a bit of byte 7 to the board, "o3d" drops
// byte 3 to the host. Ends when the other side of the pseudo-terminal is closed.

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <map>
#include <string>

#include <poll.h>
#include <unistd.h>

#include "Vtop.h"
#include "verilated.h"

namespace {

enum class Fault { None, Flip, Drop };

// The faults of one direction, by the numbers of the bytes they spoil.
class Faults {
  public:
    void add(std::uint64_t number, Fault fault) { faults_[number] = fault; }

    // Fault of the next byte.
    Fault next() {
        const auto found = faults_.find(count_++);
        return found == faults_.end() ? Fault::None : found->second;
    }

  private:
    std::map<std::uint64_t, Fault> faults_;
    std::uint64_t count_ = 0;
};

constexpr std::uint8_t kFlippedBit = 0x10;

// Puts bytes on a line: a start bit, eight data bits, lowest first, a stop bit.
class Sender {
  public:
    explicit Sender(unsigned divisor) : divisor_(divisor) {}

    void push(std::uint8_t byte) { bytes_.push_back(byte); }
    std::size_t waiting() const { return bytes_.size(); }
    bool idle() const { return bytes_.empty() && bits_left_ == 0; }

    // Level of the line in the next clock cycle.
    bool step() {
        if (bits_left_ == 0) {
            if (bytes_.empty()) return true;
            bits_ = 0x200u | static_cast<unsigned>(bytes_.front()) << 1;
            bytes_.pop_front();
            bits_left_ = 10;
            cycles_left_ = divisor_;
        }
        const bool level = bits_ & 1;
        if (--cycles_left_ == 0) {
            bits_ >>= 1;
            --bits_left_;
            cycles_left_ = divisor_;
        }
        return level;
    }

  private:
    unsigned divisor_, bits_ = 0, bits_left_ = 0, cycles_left_ = 0;
    std::deque<std::uint8_t> bytes_;
};

// Takes bytes from a line, sampling each bit in its middle.
class Receiver {
  public:
    explicit Receiver(unsigned divisor) : divisor_(divisor) {}

    bool idle() const { return bit_ == 0; }

    // Look at the line for a clock cycle; true when `byte` has been completed.
    bool step(bool level, std::uint8_t& byte) {
        if (bit_ == 0) {
            if (level) return false;
            bit_ = 1;
            cycles_left_ = divisor_ / 2;
        }
        if (cycles_left_-- != 0) return false;
        cycles_left_ = divisor_ - 1;
        if (bit_ == 1 && level) {  // a glitch, not a start bit
            bit_ = 0;
            return false;
        }
        if (bit_ == 10) {
            bit_ = 0;
            byte = bits_;
            return level;  // without a stop bit it is no byte
        }
        if (bit_ > 1) bits_ = static_cast<std::uint8_t>(bits_ >> 1 | level << 7);
        ++bit_;
        return false;
    }

  private:
    unsigned divisor_, bit_ = 0, cycles_left_ = 0;
    std::uint8_t bits_ = 0;
};

// Wait until the pseudo-terminal can be read (or written); false when its other side is closed.
bool wait_for(int fd, short event, int milliseconds, bool& ready) {
    pollfd entry{fd, event, 0};
    while (poll(&entry, 1, milliseconds) < 0) {
        if (errno != EINTR) return false;
    }
    ready = entry.revents & event;
    return ready || !(entry.revents & (POLLHUP | POLLERR | POLLNVAL));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) {
        std::fprintf(stderr, "usage: board FD DIVISOR [FAULT]...\n");
        return 2;
    }
    const int fd = std::atoi(argv[1]);
    const unsigned divisor = std::atoi(argv[2]);
    Faults in, out;
    for (int n = 3; n < argc; ++n) {
        const std::string fault = argv[n];
        (fault.front() == 'i' ? in : out)
            .add(std::stoull(fault.substr(1)), fault.back() == 'x' ? Fault::Flip : Fault::Drop);
    }

    VerilatedContext context;
    Vtop top{&context};
    Sender sender{divisor};
    Receiver receiver{divisor};

    top.rst = 1;
    top.rx = 1;
    for (int n = 0; n < 8; ++n) {
        top.clk = n & 1;
        top.eval();
    }
    top.rst = 0;

    const std::uint64_t byte_time = 10 * divisor;
    std::uint64_t quiet = 0;  // cycles in which nothing happened
    for (std::uint64_t cycle = 0;; ++cycle) {
        // Nothing can happen until the host writes: wait without burning a core.
        const bool asleep = quiet > 4 * byte_time;
        if (asleep || (cycle % byte_time == 0 && sender.waiting() < 4096)) {
            bool readable = false;
            if (!wait_for(fd, POLLIN, asleep ? -1 : 0, readable)) return 0;
            if (readable) {
                std::uint8_t buffer[1024];
                const ssize_t count = read(fd, buffer, sizeof(buffer));
                if (count <= 0) return 0;
                for (ssize_t n = 0; n < count; ++n) {
                    const Fault fault = in.next();
                    if (fault == Fault::Drop) continue;
                    sender.push(fault == Fault::Flip ? buffer[n] ^ kFlippedBit : buffer[n]);
                }
            }
        }

        top.rx = sender.step();
        top.clk = 0;
        top.eval();
        std::uint8_t byte = 0;
        if (receiver.step(top.tx, byte)) {
            const Fault fault = out.next();
            if (fault == Fault::Flip) byte ^= kFlippedBit;
            bool writable = false;
            if (fault != Fault::Drop) {
                if (!wait_for(fd, POLLOUT, -1, writable)) return 0;
                if (write(fd, &byte, 1) != 1) return 0;
            }
        }
        const bool active = !sender.idle() || !receiver.idle() || top.busy;
        quiet = active ? 0 : quiet + 1;
        top.clk = 1;
        top.eval();
    }
}
