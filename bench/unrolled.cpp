// Sends frames.bin through a pipeline without handshake: a frame a cycle, results to results.bin.
// Both are as many bytes a frame as its bits need, the lowest first.
#include <cstring>
#include <fstream>
#include <string>
#include <vector>
#include "Vtop.h"

int main(int, char **argv) {
  const std::string folder = argv[1];
  const size_t input = std::stoul(argv[2]), output = std::stoul(argv[3]);
  const long frames = std::stol(argv[4]), latency = std::stol(argv[5]);
  std::ifstream from(folder + "/frames.bin", std::ios::binary);
  std::ofstream to(folder + "/results.bin", std::ios::binary);
  Vtop top;
  top.rst = 0;
  std::vector<char> word(input);
  for (long n = 0; n < frames + latency - 1; n++) {
    if (n < frames) from.read(word.data(), input);
    std::memcpy(&top.i, word.data(), input);
    top.clk = 0;
    top.eval();
    top.clk = 1;
    top.eval();
    if (n >= latency - 1) to.write(reinterpret_cast<char *>(&top.o), output);
  }
}
