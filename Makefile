# The README's commands.  Everything real lives in CMake; this file only names the steps.
BUILD ?= build
CONFIG ?= Release
J ?= $(shell nproc)

.PHONY: all setup build test demo bench clean fuzz test-long
all: build

setup:                                  ## install the packages of packaging/packages.txt that are missing
	@packaging/setup

build: setup                            ## the binary: build/penstock
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=$(CONFIG) --log-level=WARNING
	@cmake --build $(BUILD) -j $(J)

test: build                             ## every layer of the tests
	@tests/run $(BUILD)

demo: build                             ## hold back a flood in a lab of network namespaces
	@demo=1 KEEP=$(KEEP) lab/demo $(BUILD)

bench: build                            ## the table of figures, and build/bench.json
	@bench/run $(BUILD)

fuzz: build                             ## each fuzzer for FUZZ_SECONDS (60)
	@cmake -S . -B $(BUILD) -DFUZZ_SECONDS=$(or $(FUZZ_SECONDS),60) --log-level=WARNING
	@cmake --build $(BUILD) -j 1 --target fuzz

clean:
	@rm -rf $(BUILD)
