import './whole.js'
import '../step/pytorch.test.js'
