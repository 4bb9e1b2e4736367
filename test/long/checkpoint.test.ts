import './whole.js'
import '../step/checkpoint.test.js'
