# The README's commands.  Everything real lives in CMake; this file only names the steps.
BUILD ?= build
CONFIG ?= Release
J ?= $(shell nproc)
FUZZ_SECONDS ?= 60

.PHONY: all help setup configure build deb test test-long demo bench fuzz docs clean
all: build

help:                                   ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 12
	@echo "BUILD=folder  CONFIG=Release|Debug  J=jobs  (now: $(BUILD), $(CONFIG), $(J))"

setup:                                  ## install the packages of packaging/packages.txt that are missing
	@packaging/setup

configure: setup
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=$(CONFIG) -DFUZZ_SECONDS=$(FUZZ_SECONDS) --log-level=WARNING

build: configure                        ## the program: build/penstock
	@cmake --build $(BUILD) -j $(J) --target penstock

deb: configure                          ## a Debian package: build/penstock_VERSION_ARCHITECTURE.deb
	@cmake --build $(BUILD) -j $(J) --target package_files
	@cpack --config $(BUILD)/CPackConfig.cmake -B $(BUILD) $(if $(VERSION),-D CPACK_PACKAGE_VERSION=$(VERSION)) -D CPACK_THREADS=0 | sed -n 's/^CPack: - package: //p' | grep .

demo: configure                         ## hold back a flood in a lab of network namespaces; KEEP=1 leaves the lab up
	@cmake --build $(BUILD) -j $(J) --target penstock flood
	@KEEP=$(KEEP) lab/demo $(BUILD)

test: configure                         ## every layer of the tests; needs root
	@cmake --build $(BUILD) -j $(J) --target all package_files
	@tests/run $(BUILD)

test-long: configure                    ## the same with twenty million packets through generated rule sets
	@cmake --build $(BUILD) -j $(J) --target all package_files
	@PENSTOCK_CLASSIFIED_PACKETS=20000000 tests/run $(BUILD)

bench: configure                        ## the table of figures, and build/bench.json
	@cmake --build $(BUILD) -j $(J)
	@bench/run $(BUILD)

fuzz: configure                         ## each fuzzer for FUZZ_SECONDS (60)
	@cmake --build $(BUILD) -j 1 --target fuzz

docs: configure                         ## docs/reference.md, and penstock(1), node.yaml(5) and the schema in build/docs
	@cmake --build $(BUILD) -j $(J) --target docs

clean:                                  ## remove the build folder
	@rm -rf $(BUILD)
