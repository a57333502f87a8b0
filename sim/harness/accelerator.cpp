// Runs frames through a Verilated AxiStreamTop, and writes its results with their cycles.
//
//   accelerator FRAMES RESULTS frames=N words=N packet=WORDS word_bytes=N result_bytes=N
//               frame_bytes=N beat_bytes=N patience=CYCLES stall=PER_MILLE seed=N
//               [stages=N buffers=N period=CYCLES bins=N] [nets=N]
//
// FRAMES holds the words of all frames, word_bytes each; tlast ends every packet of so many words,
// and tkeep, where there is one, says which bytes of a frame's last word belong to it. Results come
// in transfers of beat_bytes. RESULTS gets a record a frame, in host byte order: cycle of its first
// word's transfer (uint64), cycle of its result's first transfer (uint64), the result_bytes of the
// result. Standard output gets the number of results so far, now and then. Ends with 1 and a
// sentence on standard error when the accelerator breaks a rule.
//
// An accelerator of so many stages and buffers may have ports that show where words wait. Then
// RESULTS.waits gets uint64 numbers: for each of the bins of a frame's period, the cycles that were
// looked at; for each stage the same, of those cycles, in which it waited for words, and those in
// which it held one back; and for each buffer the most words that it held. Bins begin with the
// first word of a frame. They are of frames that came after the first result.
//
// A netlist may have a port that shows so many nets. Then RESULTS.toggles gets two uint64 numbers:
// cycles of such frames, and in how many nets each of them differs from the cycle before it.

#include <bitset>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

[[noreturn]] void fail(const std::string& sentence) {
    std::fprintf(stderr, "%s\n", sentence.c_str());
    std::exit(1);
}

std::map<std::string, std::uint64_t> parse(int count, char** arguments) {
    std::map<std::string, std::uint64_t> values;
    for (int n = 0; n < count; ++n) {
        const std::string argument = arguments[n];
        const auto equals = argument.find('=');
        if (equals == std::string::npos) fail("not a name=value argument: " + argument);
        values[argument.substr(0, equals)] = std::stoull(argument.substr(equals + 1));
    }
    return values;
}

// Ports are integers or arrays of words, least significant first: on a little-endian host, bytes.
template <typename Port>
void write_port(Port& port, const std::uint8_t* bytes, std::size_t count) {
    std::memcpy(&port, bytes, count);
}

// Ports that an accelerator has or lacks; the int is preferred where both fit.
template <typename Top>
auto clock_of(Top& top, int) -> decltype((top.clk)) { return top.clk; }
template <typename Top>
auto clock_of(Top& top, long) -> decltype((top.aclk)) { return top.aclk; }
template <typename Top>
auto set_reset(Top& top, bool active, int) -> decltype(void(top.rst)) { top.rst = active; }
template <typename Top>
auto set_reset(Top& top, bool active, long) -> decltype(void(top.aresetn)) {
    top.aresetn = !active;
}

// Of the bytes of a transfer, the lowest `count` are kept.
template <typename Top>
auto set_keep(Top& top, std::size_t count, int) -> decltype(void(top.s_axis_tkeep)) {
    std::uint8_t bits[sizeof(top.s_axis_tkeep)] = {};
    for (std::size_t n = 0; n < count; ++n) bits[n / 8] |= 1 << n % 8;
    std::memcpy(&top.s_axis_tkeep, bits, sizeof bits);
}
template <typename Top>
void set_keep(Top&, std::size_t, long) {}
template <typename Top>
auto kept(const Top& top, std::size_t, int) -> decltype(top.m_axis_tkeep, std::size_t()) {
    std::uint8_t bits[sizeof(top.m_axis_tkeep)];
    std::memcpy(bits, &top.m_axis_tkeep, sizeof bits);
    std::size_t count = 0;
    while (count < 8 * sizeof bits && bits[count / 8] >> count % 8 & 1) ++count;
    return count;
}
template <typename Top>
std::size_t kept(const Top&, std::size_t all, long) { return all; }

// What the ports waits and fills show.
struct Watch {
    std::uint64_t stages, buffers, period, bins;
    std::vector<std::uint64_t> counts{std::vector<std::uint64_t>((1 + 2 * stages) * bins)};
    std::vector<std::uint64_t> highest{std::vector<std::uint64_t>(buffers)};

    template <typename Top>
    auto look(const Top& top, bool steady, std::uint64_t position, int)
        -> decltype(void(top.waits)) {
        const auto* fills = reinterpret_cast<const std::uint8_t*>(&top.fills);
        for (std::uint64_t n = 0; n < buffers; ++n) {
            std::uint32_t fill;
            std::memcpy(&fill, fills + 4 * n, 4);
            if (fill > highest[n]) highest[n] = fill;
        }
        if (!steady || position >= period) return;
        const auto* waits = reinterpret_cast<const std::uint8_t*>(&top.waits);
        const std::uint64_t bin = position * bins / period;
        ++counts[bin];
        for (std::uint64_t n = 0; n < 2 * stages; ++n) {
            counts[(1 + n) * bins + bin] += waits[n / 8] >> n % 8 & 1;
        }
    }
    template <typename Top>
    void look(const Top&, bool, std::uint64_t, long) {}

    void write(const std::string& path) const {
        std::FILE* file = std::fopen(path.c_str(), "wb");
        if (!file) fail("the file of waits cannot be opened");
        std::fwrite(counts.data(), sizeof(std::uint64_t), counts.size(), file);
        std::fwrite(highest.data(), sizeof(std::uint64_t), highest.size(), file);
        if (std::fclose(file) != 0) fail("the file of waits cannot be written");
    }
};

// How often what the port nets shows changes.
struct Toggles {
    std::uint64_t nets;
    std::uint64_t cycles = 0, toggles = 0;
    std::vector<std::uint8_t> before{};

    template <typename Top>
    auto look(const Top& top, bool steady, int) -> decltype(void(top.nets)) {
        std::vector<std::uint8_t> now((nets + 7) / 8);
        std::memcpy(now.data(), &top.nets, now.size());
        if (steady && before.size() == now.size()) {
            ++cycles;
            for (std::size_t n = 0; n < now.size(); ++n) {
                toggles += std::bitset<8>(now[n] ^ before[n]).count();
            }
        }
        before.swap(now);
    }
    template <typename Top>
    void look(const Top&, bool, long) {}

    void write(const std::string& path) const {
        std::FILE* file = std::fopen(path.c_str(), "wb");
        if (!file) fail("the file of toggles cannot be opened");
        std::fwrite(&cycles, sizeof cycles, 1, file);
        std::fwrite(&toggles, sizeof toggles, 1, file);
        if (std::fclose(file) != 0) fail("the file of toggles cannot be written");
    }
};

template <typename Port>
void read_port(const Port& port, std::uint8_t* bytes, std::size_t count) {
    std::memcpy(bytes, &port, count);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 3) fail("usage: accelerator FRAMES RESULTS name=value...");
    auto options = parse(argc - 3, argv + 3);
    const std::uint64_t frames = options.at("frames");
    const std::uint64_t words = options.at("words");
    const std::uint64_t packet = options.at("packet");
    const std::size_t word_bytes = options.at("word_bytes");
    const std::size_t result_bytes = options.at("result_bytes");
    const std::size_t frame_bytes = options.at("frame_bytes");
    const std::size_t beat_bytes = options.at("beat_bytes");
    const std::uint64_t patience = options.at("patience");
    const std::uint64_t stall = options.at("stall");
    Watch watch{options["stages"], options["buffers"], options["period"], options["bins"]};
    Toggles toggles{options["nets"]};

    VerilatedContext context;
    Vtop top{&context};
    if (word_bytes > sizeof(top.s_axis_tdata) || beat_bytes > sizeof(top.m_axis_tdata)) {
        fail("the words are wider than the accelerator's ports");
    }

    std::FILE* input = std::fopen(argv[1], "rb");
    std::FILE* output = std::fopen(argv[2], "wb");
    if (!input || !output) fail("the files of frames and results cannot be opened");

    std::mt19937_64 random(options.at("seed"));
    const auto waits = [&] { return stall != 0 && random() % 1000 < stall; };

    std::vector<std::uint8_t> word(word_bytes);
    std::vector<std::uint8_t> beat(beat_bytes), waiting(beat_bytes), result;
    std::vector<std::uint64_t> first_cycle(frames);
    std::uint64_t sent = 0, done = 0, cycle = 0, first_result = 0, last_transfer = 0, reported = 0;
    bool pending = false;  // the result in `waiting` was valid, but not taken

    const auto clock = [&] {
        clock_of(top, 0) = 1;
        top.eval();
        clock_of(top, 0) = 0;
    };
    clock_of(top, 0) = 0;
    set_reset(top, true, 0);
    top.s_axis_tvalid = 0;
    top.m_axis_tready = 0;
    for (int n = 0; n < 4; ++n) {
        top.eval();
        clock();
    }
    set_reset(top, false, 0);

    for (; done < frames; ++cycle) {
        if (!top.s_axis_tvalid && sent < frames * words && !waits()) {
            if (std::fread(word.data(), 1, word_bytes, input) != word_bytes) {
                fail("the file of frames is too short");
            }
            write_port(top.s_axis_tdata, word.data(), word_bytes);
            top.s_axis_tvalid = 1;
            top.s_axis_tlast = (sent + 1) % packet == 0;
            const bool end = (sent + 1) % words == 0;
            set_keep(top, end ? frame_bytes - (words - 1) * word_bytes : word_bytes, 0);
        }
        top.m_axis_tready = !waits();
        top.eval();

        if (top.s_axis_tvalid && top.s_axis_tready) {
            if (sent % words == 0) first_cycle[sent / words] = cycle;
            ++sent;
            last_transfer = cycle;
        }
        const bool taken = top.s_axis_tvalid && top.s_axis_tready;
        const std::uint64_t begun = sent == 0 ? 0 : first_cycle[(sent - 1) / words];
        const bool steady = done > 0 && sent < frames * words;
        watch.look(top, steady, cycle - begun, 0);
        toggles.look(top, steady, 0);

        if (pending && !top.m_axis_tvalid) fail("m_axis_tvalid fell before the transfer");
        if (top.m_axis_tvalid) {
            read_port(top.m_axis_tdata, beat.data(), beat_bytes);
            if (pending && beat != waiting) fail("m_axis_tdata changed before the transfer");
            const std::size_t left = result_bytes - result.size();
            const std::size_t expected = left < beat_bytes ? left : beat_bytes;
            if (bool(top.m_axis_tlast) != (left <= beat_bytes)) {
                fail("m_axis_tlast is not with the end of a result");
            }
            if (kept(top, expected, 0) != expected) fail("m_axis_tkeep is not that of a result");
            if (sent < (done + 1) * words) fail("a result came before the end of its frame");
            if (top.m_axis_tready) {
                if (result.empty()) first_result = cycle;
                result.insert(result.end(), beat.begin(), beat.begin() + expected);
                last_transfer = cycle;
            }
        }
        if (result.size() == result_bytes) {
            std::fwrite(&first_cycle[done], sizeof(std::uint64_t), 1, output);
            std::fwrite(&first_result, sizeof(std::uint64_t), 1, output);
            std::fwrite(result.data(), 1, result_bytes, output);
            result.clear();
            ++done;
        }
        pending = top.m_axis_tvalid && !top.m_axis_tready;
        waiting.swap(beat);
        if (top.frame_error) fail("the accelerator dropped a good frame");
        if (cycle - last_transfer > patience) {
            fail("no transfer in " + std::to_string(patience) + " cycles, after " +
                 std::to_string(done) + " of " + std::to_string(frames) + " results");
        }

        clock();
        if (taken) top.s_axis_tvalid = 0;
        if (done > reported && ((done - reported) * 200 >= frames || done == frames)) {
            reported = done;
            std::printf("%" PRIu64 "\n", done);
            std::fflush(stdout);
        }
    }
    if (top.dropped_frames != 0) fail("the accelerator counted a dropped frame");
    top.final();
    if (watch.stages > 0) watch.write(std::string(argv[2]) + ".waits");
    if (toggles.nets > 0) toggles.write(std::string(argv[2]) + ".toggles");
    if (std::fclose(output) != 0) fail("the file of results cannot be written");
    return 0;
}
